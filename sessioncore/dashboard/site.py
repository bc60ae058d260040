"""An HTTP server for a few readers: fixed paths, one request per connection, limits on all.

Whatever a client does, it costs no more than a connection of some kilobytes for some seconds,
and never keeps a call waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Site

from sessioncore.dashboard.gate import Gate

__all__ = ["HEADERS", "Text", "WebSite"]

MOST_CONNECTIONS: Final = 64
MOST_FROM_ONE: Final = 16
"""Connections from one address."""
PATIENCE: Final = 15.0
"""Seconds for a request to arrive, and for its response to be taken."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "sessioncore",
    "Connection": "close",
}
"""Sent with every response."""


class Text(Resource):
    """A line of text with a status."""

    isLeaf = True

    def __init__(self, status: int, text: str) -> None:
        super().__init__()
        self._status = status
        self._text = text.encode("utf-8")

    def render(self, request: Any) -> bytes:
        """The text, whatever the method."""
        request.setResponseCode(self._status)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return self._text + b"\n"


class Channel(HTTPChannel):
    """One connection, for one request without a body."""

    maxHeaders = 100
    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        super().connectionMade()
        self.factory.connections.add(self)

    def resetTimeout(self) -> None:
        """Do nothing: a request that trickles in byte by byte gets no more time for that."""

    def timeoutConnection(self) -> None:
        """Close at once, and without a line in the log: it would be for strangers to write."""
        self.transport.abortConnection()

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Close after the response, so that no client can queue requests or responses."""
        return False

    def allHeadersReceived(self) -> None:
        """Refuse a body: nothing that is served takes one."""
        if self.length != 0:  # None: of unknown length
            self.transport.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")
            self.loseConnection()
            return
        super().allHeadersReceived()

    def requestDone(self, request: Any) -> None:
        """Wait for the client to take the response."""
        super().requestDone(request)
        self.setTimeout(PATIENCE)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Forget the connection."""
        self.factory.connections.remove(self)
        super().connectionLost(reason)


class Connections:
    """The open connections, and how many there are from each address."""

    def __init__(self) -> None:
        self._open: dict[Channel, str] = {}
        self._from: Counter[str] = Counter()

    def room_for(self, host: str) -> bool:
        """Whether one more from ``host`` may be opened."""
        return len(self._open) < MOST_CONNECTIONS and self._from[host] < MOST_FROM_ONE

    def add(self, channel: Channel) -> None:
        """Count a connection."""
        host = self._open[channel] = host_of(channel.transport.getPeer())
        self._from[host] += 1

    def remove(self, channel: Channel) -> None:
        """Count it no more."""
        host = self._open.pop(channel)
        self._from[host] -= 1
        if not self._from[host]:
            del self._from[host]

    def abort(self) -> None:
        """Close all at once."""
        for channel in list(self._open):
            channel.transport.abortConnection()

    def __len__(self) -> int:
        return len(self._open)


def host_of(address: Any) -> str:
    """The host of an `IAddress`; all clients of a UNIX socket are one."""
    return str(getattr(address, "host", ""))


class WebSite(Site):
    """Serves ``pages``, a resource for each path, to those whom ``gate`` admits.

    ``open_pages`` are for everybody: whoever probes a server has no token.
    """

    protocol = Channel  # type: ignore[assignment]
    displayTracebacks = False
    noisy = False

    def __init__(
        self,
        reactor: Any,
        gate: Gate,
        pages: Mapping[str, Resource],
        open_pages: Mapping[str, Resource],
    ) -> None:
        super().__init__(Resource(), reactor=reactor, timeout=PATIENCE)
        self.connections = Connections()
        self._gate = gate
        self._pages = {path.encode("ascii"): page for path, page in pages.items()}
        self._open_pages = {path.encode("ascii"): page for path, page in open_pages.items()}

    def startFactory(self) -> None:
        """Open no access log, and keep no clock for it."""

    def stopFactory(self) -> None:
        """There is no log to close."""

    def log(self, request: Any) -> None:
        """Log nothing: it would be for strangers to write, and the token may be in it."""

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: the limits of HTTP/2 are others."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: Any) -> Any:
        """A channel, or None, which closes the connection, if there are too many."""
        return super().buildProtocol(addr) if self.connections.room_for(host_of(addr)) else None

    def getResourceFor(self, request: Any) -> Resource:
        """The page for the whole path of ``request``, or a refusal."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        request.site = self
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            return Text(405, "405: only GET and HEAD are answered")
        page = self._open_pages.get(request.path)
        stranger = self._gate.stranger(request)
        if page is not None and stranger is None:
            return page
        refusal = stranger or self._gate.refusal(request)
        if refusal is not None:
            return Text(refusal.status, refusal.text)
        return self._pages.get(request.path) or Text(404, "404: there is no such page")
