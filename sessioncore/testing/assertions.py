"""Assertions on the verdict of a call; each raises `AssertionError` with the whole verdict."""

from __future__ import annotations

from sessioncore.session.call import Call
from sessioncore.verdict import CAUSES, Judgement, Verdict

__all__ = ["assert_cause", "assert_no_fault", "assert_two_way"]

_NAMES = frozenset(rule.name for rule in CAUSES)


def assert_two_way(call: Call, *, proven: bool = True) -> None:
    """Audio runs both ways; with ``proven`` false a peer without RTCP is enough."""
    verdict = call.verdict
    fine = verdict.judgement is Judgement.TWO_WAY
    if not proven:
        fine |= verdict.judgement is Judgement.UNCONFIRMED
    if not fine:
        raise AssertionError(f"no audio both ways: {_told(verdict)}")


def assert_no_fault(call: Call) -> None:
    """No direction that is allowed is contradicted, and there is no cause for one either."""
    verdict = call.verdict
    if verdict.faulty or verdict.causes:
        raise AssertionError(f"a fault: {_told(verdict)}")


def assert_cause(call: Call, name: str) -> None:
    """The most likely cause is the one of that name; see the fault book.

    Raises ValueError for a name that no cause has.
    """
    if name not in _NAMES:
        raise ValueError(f"{name!r} is not a cause; use one of {', '.join(sorted(_NAMES))}")
    verdict = call.verdict
    found = None if verdict.cause is None else verdict.cause.name
    if found != name:
        raise AssertionError(f"the cause is {found} and not {name}: {_told(verdict)}")


def _told(verdict: Verdict) -> str:
    causes = ", ".join(f"{each.name} ({each.weight:.2f})" for each in verdict.causes)
    return f"{verdict}\ncauses: {causes or 'none'}"
