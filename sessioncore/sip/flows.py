"""Where messages leave: targets, which name their transport, and the flows that reach them."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen

from sessioncore.vocabulary import Address, host_port

__all__ = ["Flow", "Flows", "Target"]


@frozen
class Target:
    """Where a request goes (RFC 3263 section 4): a transport and an address.

    ``transport`` is the token a Via names, e.g. ``b"UDP"``; ``host`` is an IP literal;
    ``tls_name`` is the name the peer's certificate has to carry (RFC 5922), where the transport
    asks for one.
    """

    transport: bytes
    host: str
    port: int
    tls_name: str = ""

    @property
    def address(self) -> Address:
        """Host and port."""
        return (self.host, self.port)

    def __str__(self) -> str:
        return f"{host_port(self.host, self.port)} over {self.transport.decode('ascii', 'replace')}"


class Flow(Protocol):
    """Where bytes leave: one bound SIP socket, or one connection."""

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats by itself; False for UDP."""

    @property
    def transport(self) -> bytes:
        """The transport as a Via names it, e.g. ``b"UDP"``."""

    @property
    def local(self) -> Address:
        """The address the socket is bound to."""

    @property
    def alive(self) -> bool:
        """False once a connection has ended; a socket of UDP is alive as long as it is open."""

    @property
    def backlog(self) -> int:
        """Bytes that have come and were not read yet; 0 where that is not known."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one message; never blocks; raises OSError where it knows that it cannot."""

    def sent_by(self, peer: str) -> bytes:
        """Host and port for Via and Contact as ``peer`` (an IP address) can reach them."""


class Flows(Protocol):
    """All the flows there are, and those that can be made."""

    def to(self, target: Target) -> Any:
        """The `Flow` that reaches ``target``: UDP has it at once, a stream may have to connect.

        Then it is something to be awaited.  Raises `UnreachableTarget` where no transport
        does, or fails with it.
        """
