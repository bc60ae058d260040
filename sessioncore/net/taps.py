"""The message taps of a manager: each is given every SIP message, in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.interfaces import IMessageTap
from sessioncore.net.faults import FaultLog
from sessioncore.sip.flows import Flow
from sessioncore.vocabulary import Address

__all__ = ["MessageTaps", "TakesMessages"]

_log = Logger(namespace="sessioncore.net.taps")


class TakesMessages(Protocol):
    """An object that receives each message; `IMessageTap` is the same for zope.interface."""

    def message(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        transport: str,
        sent: bool,
        at: int,
        /,
    ) -> object:
        """Receive one message."""


class MessageTaps:
    """Gives messages to the taps (`IMessageTap`); what a tap raises is counted in ``faults``.

    ``local_ip`` returns our address on a flow towards a peer, ``now`` the time in monotonic ns.
    """

    def __init__(self, local_ip: Callable[[Flow, str], str], now: Callable[[], int]) -> None:
        self.faults: Final = FaultLog(_log)
        self._local_ip = local_ip
        self._now = now
        self._taps: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._taps)

    def add(self, tap: object) -> None:
        """Raises `ConfigurationError` if ``tap`` is not one."""
        if not IMessageTap.providedBy(tap) and not callable(getattr(tap, "message", None)):
            raise ConfigurationError(
                f"{tap!r} is not a message tap; give an IMessageTap: an object with a method"
                " message(data, source, destination, transport, sent, at)"
            )
        # A new tuple, because a tap may be added or removed while one is called.
        self._taps = (*self._taps, tap)

    def remove(self, tap: object) -> None:
        """Raises `ConfigurationError` if ``tap`` was not added."""
        for place, each in enumerate(self._taps):
            if each is tap:
                self._taps = (*self._taps[:place], *self._taps[place + 1 :])
                return
        raise ConfigurationError(
            f"{tap!r} is not among the message taps; give the object that was added"
        )

    def received(self, data: bytes, source: Address, flow: Flow, now: int) -> None:
        """A message came in (`interfaces.Receive`)."""
        self._tell(data, source, self._local(flow, source), flow, False, now)

    def sent(self, data: bytes, flow: Flow, address: Address) -> None:
        """A flow accepted a message to ``address``."""
        self._tell(data, self._local(flow, address), address, flow, True, self._now())

    def _local(self, flow: Flow, peer: Address) -> Address:
        """Our own address, also where the socket is bound to all."""
        try:
            return self._local_ip(flow, peer[0]), flow.local[1]
        except OSError:
            return flow.local

    def _tell(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        flow: Flow,
        sent: bool,
        at: int,
    ) -> None:
        transport = flow.transport.decode("ascii", "replace")
        for tap in self._taps:
            try:
                tap.message(data, source, destination, transport, sent, at)
            except Exception as error:
                self.faults.caught(f"a message tap failed: {type(tap).__qualname__}", error)
