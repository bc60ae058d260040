"""Ladders, event lines and walks of real calls on the in-memory network."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable
from random import Random
from typing import Any, Final

from sessioncore.events import Event
from sessioncore.explaining.report import call_lines
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.settings import Settings
from sessioncore.testing.explained import explain_network
from sessioncore.testing.links import Datagram, Link
from sessioncore.testing.network import FakeNetwork
from sessioncore.watching.event_log import json_line, text_line
from sessioncore.watching.walk import WALK, Walk
from tools.documentation.words import WIDTH

CALLER: Final = "192.0.2.1"
CALLEE: Final = "192.0.2.2"


class Told(list[Datagram]):
    """The capture of a network that also reports each datagram when it is sent."""

    def __init__(self, tell: Callable[[Datagram], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, datagram: Datagram) -> None:
        """Append the datagram and report it."""
        super().append(datagram)
        self._tell(datagram)


class Scene:
    """A caller, a callee, and everything that happens between them, in order."""

    def __init__(self, answer: Callable[[Call], Any], **wishes: Any) -> None:
        self.network = FakeNetwork(link=Link(delay=0.01))
        self.events: list[Event] = []
        self.lines: list[str] = []
        self._media: set[str] = set()
        self.network.captured = Told(self._sent)
        self.callee = self.manager(CALLEE, on_incoming=answer, **wishes)
        self.caller = self.manager(CALLER)

    def manager(self, address: str, **wishes: Any) -> SessionManager:
        """A started manager that draws the same random numbers every time."""
        host = self.network.host(address)
        manager = SessionManager(host, random_bytes=Random(address).randbytes, **wishes)
        manager.add_event_sink(self._happened)
        manager.start()
        return manager

    def _time(self, now: int) -> str:
        return f"{now / 1e6:>7.0f}"

    def _happened(self, event: Event) -> None:
        self.events.append(event)
        text = f"{event.name} ({event.media_state})"
        left, right = (text, "") if event.role.value == "UAC" else ("", text)
        self.lines.append(f"{self._time(event.at)}  {left:<35} {'':<19} {right}".rstrip())

    def _sent(self, datagram: Datagram) -> None:
        data, from_caller = datagram.data, datagram.source[0] == CALLER
        if data[:1].isalpha():
            words = data.split(b"\r\n")[0].split()
            method = re.search(rb"CSeq: [0-9]+ ([A-Z]+)", data)
            assert method is not None
            name = words[0].decode()
            if name == "SIP/2.0":
                name = words[1].decode()
                name += "" if method[1] == b"INVITE" else f" ({method[1].decode()})"
            name += " +SDP" if b"\r\nv=0" in data else ""
        elif datagram.destination[1] % 2 == 0 and datagram.source[0] not in self._media:
            self._media.add(datagram.source[0])
            name = "first RTP"
        else:
            return
        arrow = f"{f' {name} ':-^18}>" if from_caller else f"<{f' {name} ':-^18}"
        self.lines.append(f"{self._time(datagram.sent_at)}  {'':<35} {arrow}")

    def text(self) -> str:
        """The ladder; times in ms."""
        head = f"{'ms':>7}  {'caller, UAC':<35} {'':<19} callee, UAS"
        return "\n".join(["```text", head, *self.lines, "```"])


async def _ring_and_answer(call: Call) -> None:
    call.ring()
    await call.answer(source=Tone(frequencies=(1000.0,)))


async def _early(call: Call) -> None:
    call.ring(early_media=True)


def early_offer() -> Scene:
    """Offer in the INVITE, answer in the 200, hung up by the caller."""
    scene = Scene(_ring_and_answer)
    call = scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.3)
    call.hang_up()
    scene.network.advance(0.3)
    return scene


def late_offer() -> Scene:
    """Offer in the 200, answer in the ACK, hung up by the callee."""
    scene = Scene(_ring_and_answer)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone(), late_offer=True)
    scene.network.advance(0.3)
    scene.callee.calls[0].hang_up()
    scene.network.advance(0.3)
    return scene


def early_media() -> Scene:
    """SDP in a 183, the answer 200 ms later."""
    scene = Scene(_early)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.2)
    scene.callee.calls[0].answer(source=Tone(frequencies=(1000.0,)))
    scene.network.advance(0.2)
    return scene


def rejected() -> Scene:
    """The callee rejects with 486 Busy Here."""
    scene = Scene(lambda call: call.reject(486))
    scene.caller.call(f"sip:bob@{CALLEE}")
    scene.network.advance(0.2)
    return scene


def nothing_in_common() -> Scene:
    """The server itself refuses with 488 Not Acceptable Here."""
    scene = Scene(_ring_and_answer, settings=Settings(codecs=("L16",)))
    scene.caller.call(f"sip:bob@{CALLEE}")
    scene.network.advance(0.2)
    return scene


def cancelled() -> Scene:
    """The caller hangs up while it rings."""
    scene = Scene(lambda call: call.ring())
    call = scene.caller.call(f"sip:bob@{CALLEE}")
    scene.network.advance(0.1)
    call.hang_up()
    scene.network.advance(0.2)
    return scene


def one_way() -> Scene:
    """After the answer, nothing from the callee reaches the caller."""
    scene = Scene(_ring_and_answer)
    scene.caller.call(f"sip:bob@{CALLEE}", source=Tone())
    scene.network.advance(0.03)
    scene.network.set_link(CALLEE, CALLER, Link(loss=1.0))
    scene.network.advance(6)
    return scene


def explained() -> str:
    """What `sessioncore explain` says of that call."""
    scene = one_way()
    scene.caller.calls[0].hang_up()
    scene.network.advance(1)
    report = explain_network(scene.network)
    (call,) = report.calls
    lines = [
        piece
        for line in call_lines(1, call)
        for piece in textwrap.wrap(line, WIDTH - 2, subsequent_indent=_depth(line) + "  ") or [""]
    ]
    return "\n".join(["```text", *lines, "```"])


def _depth(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def event_lines() -> str:
    """The callee's event lines of an ordinary call, with the longest cut."""
    lines = [text_line(event) for event in early_offer().events if event.role.value == "UAS"]
    return "\n".join(["```text", *(_cut(line.rstrip("\n")) for line in lines), "```"])


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH - 2 else line[: WIDTH - 6] + " ..."


def json_example() -> str:
    """Two JSON records of an ordinary call, each wrapped over several lines."""
    wanted = {"CallAnswered", "MediaNegotiated"}
    told = [
        event for event in early_offer().events
        if event.name in wanted and event.role.value == "UAS"
    ]  # fmt: skip
    lines = []
    for event in told:
        text = json_line(event)
        lines.append("\n".join(textwrap.wrap(text.replace(",", ", "), WIDTH - 4,
                                             subsequent_indent="  ")))  # fmt: skip
    return "\n".join(["```text", *lines, "```"])


def walk_table() -> str:
    """The rows of the walk."""
    rows = ["| # | where | what |", "|---|---|---|"]
    for number, (modules, what) in enumerate(WALK, 1):
        names = ", ".join(f"`{name}`" for name in modules)
        rows.append(f"| {number} | {names} | {what} |")
    return "\n".join(rows)


def walk_trace(label: str) -> str:
    """One side's walk of an ordinary call on the in-memory network."""
    outs = {name: io.StringIO() for name in ("UAC", "UAS")}
    network = FakeNetwork(link=Link(delay=0.01))

    def manager(address: str, name: str, **wishes: Any) -> SessionManager:
        walk = Walk(outs[name], name)
        made = SessionManager(
            network.host(address),
            random_bytes=Random(address).randbytes,
            settings=Settings(user_agent="sessioncore"),
            tracer=walk,
            **wishes,
        )
        made.add_event_sink(walk.event)
        made.start()
        return made

    manager(CALLEE, "UAS", on_incoming=_ring_and_answer)
    manager(CALLER, "UAC").call(f"sip:bob@{CALLEE}", source=Tone())
    network.advance(0.3)
    lines = [line[6:] for line in outs[label].getvalue().splitlines()]
    return "\n".join(["```text", *(_cut(line) for line in lines), "```"])
