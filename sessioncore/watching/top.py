"""What ``sessioncore top`` shows: the calls of a running server as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from sessioncore.watching.event_log import shown

__all__ = ["top_text"]

_COLOURS: Final = {"good": "32", "fault": "31;1", "failed": "33", "ended": "2"}
"""SGR parameters by the state of a call (ECMA-48 section 8.3.117)."""
_WIDE: Final = 110
"""Columns from which on there is room for jitter and level."""
_INDENT: Final = " " * 10


def top_text(
    snapshot: Mapping[str, Any], width: int = 120, height: int = 10_000, *, colours: bool = False
) -> str:
    """The snapshot of a dashboard (``/now``) in at most ``height`` lines of ``width`` columns.

    Of the packets that were lost, the share of the last second is shown, in each direction.
    Calls with faults come first, then the newest; those that are over come last.
    """
    wide = width >= _WIDE
    lines = [*_head(snapshot), _titles(wide)]
    now, room = snapshot["t"], height - len(lines)
    calls = sorted(snapshot["calls"], key=_rank)
    blocks = [_block(call, now, wide, colours) for call in calls]
    shown_blocks = list(_fitting(blocks, room))
    lines += [line for block in shown_blocks for line in block]
    left = len(blocks) - len(shown_blocks) + snapshot["more"]
    if left and len(lines) < height:
        lines.append(f"{_INDENT}and {left} more")
    return "".join([f"{_cut(line, width)}\n" for line in lines])


def _rank(call: Mapping[str, Any]) -> tuple[bool, bool, float]:
    return call["ended"] is not None, call["state"] != "fault", -call["begun"]


def _fitting(blocks: Iterable[list[str]], room: int) -> Iterator[list[str]]:
    for block in blocks:
        room -= len(block)
        if room < 1:  # one line is for what does not fit
            return
        yield block


def _head(snapshot: Mapping[str, Any]) -> Iterator[str]:
    server, health = snapshot["server"], snapshot["health"]
    yield f"{shown(server['name'])}  {shown(', '.join(server['listens']))}"
    yield (
        f"calls {health['calls']} of {health['max_calls']}"
        f"  CPU {100 * health['cpu']:.0f} %"
        f"  ticks late by {health['late_ms']:.1f} ms"
        f"  RTP in {health['packets_in']}/s, out {health['packets_out']}/s"
        f"  ports free {health['ports_free']} of {health['ports']}"
    )
    yield (f"answered {health['answered']}  failed {health['failed']}  refused {health['refused']}")
    if health["trouble"]:
        yield f"! {shown(health['trouble'])}"
    yield ""


def _titles(wide: bool) -> str:
    line = f"{'TIME':>8}  {'AUDIO':<14} {'CODEC':<6}"
    for way in ("HEARD", "SENT"):
        line += f" {way}: LOSS {'JITTER':>7} {'LEVEL':>7}" if wide else f" {way:>7}"
    return f"{line}  CALL"


def _block(call: Mapping[str, Any], now: float, wide: bool, colours: bool) -> list[str]:
    """A call: one line, and for a fault the cause and what to do."""
    verdict = call["verdict"]
    line = f"{_lasted(call, now):>8}  {_state(call):<14} {_codec(call):<6}"
    for way, title in (("received", "HEARD: LOSS"), ("sent", "SENT: LOSS")):
        _rate, loss, jitter, level = call.get(way) or (None,) * 4
        line += f" {_percent(loss):>{len(title) if wide else 7}}"
        if wide:
            line += f" {_number(jitter, 'ms'):>7} {_number(level, 'dB'):>7}"
    line += f"  {_party(call['from'])} -> {_party(call['to'])}"
    lines = [_coloured(line, call["state"], colours)]
    if call["state"] == "fault" and verdict and verdict["cause"]:
        lines.append(f"{_INDENT}{shown(verdict['cause'])}")
        lines.append(f"{_INDENT}=> {shown(verdict['remedy'])}")
    elif call["state"] == "failed":
        lines.append(f"{_INDENT}{shown(call['reason'])}")
    return lines


def _coloured(line: str, state: str, colours: bool) -> str:
    colour = _COLOURS.get(state) if colours else None
    return line if colour is None else f"\x1b[{colour}m{line}\x1b[0m"


def _cut(line: str, width: int) -> str:
    """``line`` in ``width`` columns; its colour takes none."""
    begin, end = "", ""
    if line.startswith("\x1b["):
        begin, _, line = line.partition("m")
        begin, line, end = f"{begin}m", line.removesuffix("\x1b[0m"), "\x1b[0m"
    return f"{begin}{line if len(line) <= width else line[: width - 3] + '...'}{end}"


def _lasted(call: Mapping[str, Any], now: float) -> str:
    begin = call["answered"] or 0.0
    end = now - call["begun"] if call["ended"] is None else call["ended"]
    seconds = max(0, int(end - begin))
    text = f"{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{seconds // 3600}:{text}" if seconds >= 3600 else text


def _state(call: Mapping[str, Any]) -> str:
    verdict = call["verdict"]
    if call["state"] in ("fault", "good", "plain") and verdict:
        return shown(verdict["judgement"].replace("_", " "))[:14]
    return shown(call["state"])[:14]


def _codec(call: Mapping[str, Any]) -> str:
    return shown(call["media"]["codec"].partition("/")[0])[:6] if call["media"] else ""


def _party(party: Mapping[str, str]) -> str:
    return (
        f'"{shown(party["name"])}" {shown(party["uri"])}' if party["name"] else shown(party["uri"])
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"
