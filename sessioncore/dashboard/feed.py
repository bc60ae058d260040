"""Server-sent events: a snapshot for each reader, then one set of changes a second for all.

A reader that takes nothing is skipped, and gets a whole snapshot when it reads again; after
`PATIENCE` it is dropped.  So it holds one snapshot at most, and nobody waits for it.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define
from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from sessioncore.dashboard.board import LOOKS, Board
from sessioncore.dashboard.site import Text
from sessioncore.net.clockwork import IClockwork
from sessioncore.vocabulary import SECOND

__all__ = ["Feed", "MessagePage", "Snapshot"]

MOST_READERS: Final = 8
PATIENCE: Final = 15 * SECOND
"""How long, in ns, a reader may take nothing."""
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",
}


@implementer(IPushProducer)
@define(eq=False)
class _Reader:
    """One response that goes on; the transport pauses it while its reader takes nothing."""

    request: Any
    paused_at: int | None = None
    missed: bool = False
    """Whether it was skipped since it got everything."""
    now: Any = None

    def pauseProducing(self) -> None:
        """The reader takes nothing."""
        self.paused_at = self.now()

    def resumeProducing(self) -> None:
        """The reader has taken what there was."""
        self.paused_at = None

    def stopProducing(self) -> None:
        """The connection is lost; the `Feed` is notified as well."""

    def abort(self) -> None:
        """Close the connection, whatever it still holds."""
        self.request.channel.transport.abortConnection()


class Feed(Resource):
    """``/events``: everything, then what changes, once a second while somebody reads."""

    isLeaf = True

    def __init__(self, board: Board, clockwork: IClockwork) -> None:
        super().__init__()
        self._board = board
        self._clockwork: Any = clockwork
        self._readers: dict[Any, _Reader] = {}
        self._armed: Any = None

    def render(self, request: Any) -> Any:
        """Begin a response that goes on until the reader leaves."""
        if len(self._readers) >= MOST_READERS:
            text = f"503: {MOST_READERS} readers are all that can be served; close another page"
            return Text(503, text).render(request)
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        if request.method == b"HEAD":
            return b""
        reader = self._readers[request] = _Reader(request, now=self._clockwork.now)
        request.notifyFinish().addBoth(self._gone, request)
        request.registerProducer(reader, True)
        if self._armed is None:
            self._board.look_at_all(self._clockwork.now())
            self._arm()
        request.write(_event("full", self._board.full()))
        return NOT_DONE_YET

    def _gone(self, _result: object, request: Any) -> None:
        # Without this the two of them would wait for the garbage collector.
        self._readers.pop(request).request = None
        if not self._readers and self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _arm(self) -> None:
        when = self._clockwork.now() + SECOND // LOOKS
        self._armed = self._clockwork.deadlines.at(when, self._look)

    def _look(self, _none: None, now: int) -> None:
        self._arm()
        if self._board.look(now):
            self._send(now)

    def _send(self, now: int) -> None:
        changes, full = _event("changes", self._board.changes()), b""
        for reader in list(self._readers.values()):
            if reader.paused_at is not None:
                reader.missed = True
                if now - reader.paused_at > PATIENCE:
                    reader.abort()
            elif reader.missed:
                full = full or _event("full", self._board.full())
                reader.missed = False
                reader.request.write(full)
            else:
                reader.request.write(changes)

    def stop(self) -> None:
        """Read no more numbers; the connections are the site's to close."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode("ascii")


class Snapshot(Resource):
    """``/now``: everything as JSON, made at most once a second however many ask."""

    isLeaf = True

    def __init__(self, board: Board, clockwork: IClockwork) -> None:
        super().__init__()
        self._board = board
        self._clockwork: Any = clockwork
        self._until = 0
        self._made = b""

    def render(self, request: Any) -> bytes:
        """The JSON."""
        now = self._clockwork.now()
        if now >= self._until:
            self._board.look_at_all(now)
            self._made = self._board.full().encode("ascii")
            self._until = now + SECOND
        request.setHeader("Content-Type", "application/json")
        return self._made


class MessagePage(Resource):
    """``/message?session=ID&number=N``: one message of a ladder as text, without secrets."""

    isLeaf = True

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def render(self, request: Any) -> bytes:
        """The text, or 404."""
        session = request.args.get(b"session", [b""])[0].decode("ascii", "replace")
        number = request.args.get(b"number", [b""])[0]
        text = None
        if number.isdigit() and len(number) <= 4:
            text = self._board.text_of(session, int(number))
        if text is None:
            return Text(404, "404: this message is not kept").render(request)
        return Text(200, text).render(request)
