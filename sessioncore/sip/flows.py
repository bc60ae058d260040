"""Targets, which name their transport, and the flows that reach them."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen

from sessioncore.vocabulary import Address, host_port

__all__ = ["Flow", "Flows", "Target"]


@frozen
class Target:
    """The destination of a request (RFC 3263 section 4): a transport and an address.

    ``transport`` is the Via transport token, for example ``b"UDP"``; ``host`` is an IP literal;
    ``tls_name`` is the name that the peer's certificate must contain (RFC 5922), if the
    transport requires one.
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
    """Sends bytes: one bound SIP socket, or one connection."""

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself; False for UDP."""

    @property
    def transport(self) -> bytes:
        """The Via transport token, for example ``b"UDP"``."""

    @property
    def local(self) -> Address:
        """The address the socket is bound to."""

    @property
    def alive(self) -> bool:
        """False once a connection has ended; a UDP socket is alive as long as it is open."""

    @property
    def backlog(self) -> int:
        """Bytes that have arrived but were not read yet; 0 if that is not known."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one message; never blocks; raises OSError if it is known that it cannot be sent."""

    def sent_by(self, peer: str) -> bytes:
        """Host and port for Via and Contact at which ``peer`` (an IP address) can reach us."""


class Flows(Protocol):
    """The existing flows, and a way to make new ones."""

    def to(self, target: Target) -> Any:
        """The `Flow` that reaches ``target``, or an awaitable of it if it has to connect first.

        Raises `UnreachableTarget`, or the awaitable fails with it, if no transport reaches the
        target.
        """

    @property
    def near(self) -> frozenset[int]:
        """The ports of the sockets, and those one below (`sessioncore.sdp.targets.Sockets`)."""

    def own(self, ip: str, port: int) -> bool:
        """Whether one of the sockets receives what is sent to this address."""
