"""Checks descriptions and calls by what explains them: lint, negotiation, captures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unittest import TestCase

from sessioncore.explaining.packets import Datagram
from sessioncore.explaining.reading import Sorting
from sessioncore.explaining.report import Report
from sessioncore.explaining.seen import Seen
from sessioncore.explanation import Explanation
from sessioncore.lint import LintFinding, Severity
from sessioncore.sdp.explanation import explain_answer, explain_offer
from sessioncore.sdp.formats import MediaPolicy
from sessioncore.sdp.lint import lint_description
from sessioncore.sdp.pair_lint import lint_exchange
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork
from sessioncore.vocabulary import Direction

__all__ = [
    "assert_agreed",
    "assert_described",
    "explain_answer",
    "explain_network",
    "explain_offer",
    "lint_description",
    "lint_exchange",
]


def assert_described(
    case: TestCase,
    description: bytes,
    *,
    findings: Iterable[str] = (),
    least: Severity = Severity.WARNING,
) -> None:
    """Fail unless the findings in a session description are these, by name and in any order.

    Findings below ``least`` are not looked at.
    """
    _check(case, lint_description(description), findings, least)


def assert_agreed(
    case: TestCase,
    offer: bytes,
    answer: bytes,
    *,
    codec: str | None = None,
    direction: Direction = Direction.SENDRECV,
    findings: Iterable[str] = (),
    least: Severity = Severity.WARNING,
) -> Explanation:
    """Fail unless ``answer`` leads to an agreement on ``offer``; returns its explanation.

    ``codec`` is for example ``PCMU/8000``, ``direction`` is as the side that offers sees it, and
    ``findings`` are those between both, by name and in any order.
    """
    explanation = explain_answer(offer, answer)
    agreement = explanation.agreement
    if agreement is None:
        case.fail(f"there is no agreement:\n{explanation}")
    if codec is not None:
        case.assertEqual(str(agreement.codec), codec, str(explanation))
    case.assertEqual(str(agreement.direction), str(direction), str(explanation))
    _check(case, lint_exchange(offer, answer), findings, least)
    return explanation


def _check(
    case: TestCase, found: tuple[LintFinding, ...], wanted: Iterable[str], least: Severity
) -> None:
    heavy = [each for each in found if each.severity >= least]
    names = {each.name for each in heavy}
    case.assertEqual(names, set(wanted), "\n".join(map(str, heavy)) or "there are no findings")


def explain_network(network: FakeNetwork, **settings: Any) -> Report:
    """What became of the calls on an in-memory network, by the datagrams that it captured.

    As ``sessioncore explain`` says it of a capture, which is one at the receiver: lost datagrams
    are left out.  ``settings`` are those of `Settings`; their codecs judge offers that nobody
    answered.
    """
    sorting = Sorting(Seen("the network", is_capture=True))
    for each in network.captured:
        if each.fate == "delivered":
            packet = Datagram(each.sent_at, each.seen_source, each.destination, each.data, True)
            sorting.take(packet)
        elif each.fate == "port closed" and network.icmp:
            sorting.seen.add_unreachable(each.destination)
    policy = MediaPolicy(Settings(**settings).codec_list)
    return Report("the network", sorting.seen.finish(), policy)
