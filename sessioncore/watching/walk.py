"""The walk of a call through the package, and a tracer that prints it from live traffic."""

from __future__ import annotations

from enum import Enum
from typing import IO, TYPE_CHECKING, Final

from sessioncore import events
from sessioncore.errors import SipParseError
from sessioncore.events import __all__ as EVENTS
from sessioncore.sdp.exchange import OFFER_ANSWER
from sessioncore.session.media_state import (
    AgreementReached,
    AllDirectionsSeen,
    FlowEstablished,
    Silenced,
)
from sessioncore.session.session import (
    AckMissing,
    AckRead,
    AckWritten,
    AnswerWritten,
    SuccessRead,
)
from sessioncore.sip.message import Request, parse_message
from sessioncore.sip.transaction import ClientTransaction, ServerTransaction
from sessioncore.table import Machine
from sessioncore.vocabulary import host_port
from sessioncore.watching.event_log import printable

if TYPE_CHECKING:
    from sessioncore.sip.dialog import Dialog
    from sessioncore.vocabulary import Address

__all__ = ["WALK", "Walk", "heading", "place"]

WALK: Final = (
    (("net/sip_udp",), "a datagram arrives, gets its time stamp and is handed on"),
    (("sip/message",), "bytes become a Request or a Response, or are refused"),
    (
        ("sip/matching", "sip/server", "sip/client"),
        "it finds its transaction; repetitions end here",
    ),
    (("sip/dialog", "session/registry"), "a dialog: tags, route set, remote target"),
    (
        ("sip/inspection", "sdp/negotiation"),
        "what must be refused is refused; descriptions are judged",
    ),
    (
        ("session/callee", "session/placing"),
        "IncomingCall: the application decides; or it places a call",
    ),
    (
        ("session/callee", "session/caller", "session/establishing"),
        "the 200 OK, the agreement, establish_media_flow: one turn",
    ),
    (("session/acks", "session/caller"), "the ACK; it plays no part in media"),
    (("media/plane", "session/establishing"), "packets both ways: MediaActive"),
)
"""The rows of the walk: the modules, and what happens there.  A UAC walks 6, 7, 9 on the 200."""

_ROW_OF_EVENT: Final[dict[type[events.Event], int]] = {
    events.OfferRefused: 5,
    events.OutgoingCallPrepared: 6,
    events.CallInitiated: 6,
    events.IncomingCall: 6,
    events.CallRinging: 6,
    events.CallAccepted: 6,
    events.TransferRequested: 6,
    events.EarlyMediaStarted: 7,
    events.CallAnswered: 7,
    events.AnswerChanged: 7,
    events.MediaNegotiated: 7,
    events.MediaFlowEstablished: 7,
    events.CallHeld: 7,
    events.CallResumed: 7,
    events.AckSent: 8,
    events.AckReceived: 8,
    events.AnswerRepeated: 8,
    events.OfferUnanswered: 8,
    events.DialogEstablished: 8,
    events.MediaActive: 9,
    events.MediaStalled: 9,
    events.VerdictChanged: 9,
    events.MediaFailed: 9,
    events.MediaPathProblem: 9,
    events.DigitReceived: 9,
    # The end has no row: it is decided where a call begins.
    events.CallEnded: 6,
    events.CallFailed: 6,
}
_ROW_OF_INPUT: Final[dict[type, int]] = {
    **dict.fromkeys(OFFER_ANSWER.inputs, 5),
    SuccessRead: 7,
    AnswerWritten: 7,
    AgreementReached: 7,
    FlowEstablished: 7,
    AckWritten: 8,
    AckRead: 8,
    AckMissing: 8,
    AllDirectionsSeen: 9,
    Silenced: 9,
}


def place(modules: tuple[str, ...]) -> str:
    """The modules of a row in short: ``sip/{server,client}``."""
    folders: dict[str, list[str]] = {}
    for module in modules:
        folder, _, name = module.partition("/")
        folders.setdefault(folder, []).append(name)
    return ", ".join(
        f"{folder}/{names[0] if len(names) == 1 else '{' + ','.join(names) + '}'}"
        for folder, names in folders.items()
    )


_PLACES: Final = tuple(place(modules) for modules, _what in WALK)
_WIDTH: Final = max(map(len, _PLACES))


def heading() -> str:
    """The walk as a table."""
    rows = enumerate(zip(_PLACES, WALK, strict=True), 1)
    return "\n".join(f"{row:>2}  {where:<{_WIDTH}}  {what}" for row, (where, (_, what)) in rows)


class Walk:
    """A `Tracer` and event sink that writes one line per row walked.

    ``label`` tells sides apart that are traced together.
    """

    def __init__(self, out: IO[str], label: str) -> None:
        self._out = out
        self._label = label

    def datagram(self, data: bytes, source: Address, now: int) -> None:
        """Rows 1 and 2."""
        self._say(1, f"{len(data)} bytes from {host_port(*source)}: {_first_line(data)}")
        try:
            message = parse_message(data)
        except SipParseError as error:
            self._say(2, f"refused with {error.status}: {printable(str(error))}")
            return
        kind = "Request" if isinstance(message, Request) else "Response"
        self._say(2, f"{kind}, {len(message.headers)} headers, body of {len(message.body)} bytes")

    def transaction(self, tx: ServerTransaction | ClientTransaction) -> None:
        """Row 3."""
        self._say(3, f"{tx.table.name} begins")

    def dialog(self, dialog: Dialog) -> None:
        """Row 4."""
        routes = len(dialog.route_set)
        tags = dialog.local_tag, dialog.remote_tag
        local, remote = (printable(tag.decode("ascii", "backslashreplace")) for tag in tags)
        self._say(4, f"local tag {local}, remote tag {remote}, {routes} routes")

    def step(self, machine: Machine, old: Enum, given: object, new: Enum) -> None:
        """A step of any machine, on the row it belongs to."""
        kind = type(given)
        if isinstance(machine, ServerTransaction | ClientTransaction):
            row = 3
        else:
            row = _ROW_OF_INPUT.get(kind, 6)
        self._say(row, f"{machine.table.name}: {old} -> {new} on {kind.__name__}")

    def event(self, event: events.Event) -> None:
        """An event of the package's, on the row it belongs to."""
        if event.name not in EVENTS:
            return  # a summary of our commands
        row = _ROW_OF_EVENT[type(event)]
        self._say(row, f"{event.name}, Media State: {event.media_state}")

    def close(self) -> None:
        """Nothing is held back."""

    def _say(self, row: int, what: str) -> None:
        try:
            where = _PLACES[row - 1]
            self._out.write(f"[{self._label}] {row}  {where:<{_WIDTH}}  {what}\n")
            self._out.flush()
        except (OSError, ValueError):
            pass  # nobody reads any more


def _first_line(data: bytes) -> str:
    line = data.split(b"\n", 1)[0].rstrip(b"\r")[:200].decode("ascii", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
