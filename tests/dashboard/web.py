"""An HTTP client in memory: a connection to a `WebSite` without sockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sessioncore.dashboard.site import WebSite


class Transport(StringTransport):
    """A connection that says how it was closed, and counts what its reader has not taken."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


@frozen
class Response:
    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        (value,) = self.headers[name.lower()]
        return value

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


def parse(data: bytes) -> Response:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return Response(int(first.split()[1]), headers, body)


class Connection:
    """One connection; ``peer`` is the address of the client."""

    def __init__(self, site: WebSite, peer: str = "192.0.2.77", port: int = 8080) -> None:
        self.transport = Transport(
            hostAddress=IPv4Address("TCP", "192.0.2.1", port),
            peerAddress=IPv4Address("TCP", peer, 40_000),
        )
        self.channel = site.buildProtocol(self.transport.getPeer())
        if self.channel is not None:
            self.channel.makeConnection(self.transport)

    @property
    def refused(self) -> bool:
        return self.channel is None

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        host: str = "127.0.0.1:8080",
    ) -> None:
        fields = {"Host": host, **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    @property
    def response(self) -> Response:
        return parse(self.transport.value())

    def close(self) -> None:
        """The client goes away; as a real transport does, this one forgets its producer."""
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.transport.producer = None


def get(site: WebSite, path: str, **given: Any) -> Response:
    """The response to one request."""
    connection = Connection(site)
    connection.ask(path, **given)
    response = connection.response
    connection.close()
    return response
