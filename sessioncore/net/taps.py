"""The taps of a manager: each is given every SIP message, or all RTCP, in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger

from sessioncore.errors import ConfigurationError
from sessioncore.interfaces import IMessageTap, IReportTap
from sessioncore.net.faults import FaultLog
from sessioncore.sip.flows import Flow
from sessioncore.vocabulary import Address

if TYPE_CHECKING:
    from sessioncore.media.stream import Stream

__all__ = ["MessageTaps", "ReportTaps", "TakesMessages", "TakesReports"]

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


class TakesReports(Protocol):
    """An object that receives all RTCP; `IReportTap` is the same for zope.interface."""

    def report(
        self,
        data: bytes,
        source: Address,
        destination: Address,
        sent: bool,
        at: int,
        call_id: str,
        /,
    ) -> object:
        """Receive one packet."""


class _Taps:
    """Taps with a method each; what they raise is counted in ``faults``."""

    method: str
    interface: Any
    example: str

    def __init__(self, faults: FaultLog) -> None:
        self.faults: Final = faults
        self._taps: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._taps)

    def add(self, tap: object) -> None:
        """Raises `ConfigurationError` if ``tap`` is not one."""
        if not self.interface.providedBy(tap) and not callable(getattr(tap, self.method, None)):
            raise ConfigurationError(
                f"{tap!r} is not a {self.method} tap; give an {self.interface.__name__}: an object"
                f" with a method {self.example}"
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
            f"{tap!r} is not among the {self.method} taps; give the object that was added"
        )

    def _caught(self, tap: object, error: Exception) -> None:
        self.faults.caught(f"a {self.method} tap failed: {type(tap).__qualname__}", error)


class MessageTaps(_Taps):
    """Gives SIP messages to the taps (`IMessageTap`).

    ``local_ip`` returns our address on a flow towards a peer, ``now`` the time in monotonic ns.
    """

    method = "message"
    interface = IMessageTap
    example = "message(data, source, destination, transport, sent, at)"

    def __init__(
        self,
        faults: FaultLog,
        local_ip: Callable[[Flow, str], str],
        now: Callable[[], int],
    ) -> None:
        super().__init__(faults)
        self._local_ip = local_ip
        self._now = now

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
                self._caught(tap, error)


class ReportTaps(_Taps):
    """Gives RTCP to the taps (`IReportTap`)."""

    method = "report"
    interface = IReportTap
    example = "report(data, source, destination, sent, at, call_id)"

    def tell(
        self,
        stream: Stream,
        data: bytes,
        source: Address,
        destination: Address,
        sent: bool,
        at: int,
    ) -> None:
        """A packet of a stream arrived or left (`TellReport`)."""
        if stream.owner is not None:
            stream.label = stream.owner.call_id
        for tap in self._taps:
            try:
                tap.report(data, source, destination, sent, at, stream.label)
            except Exception as error:
                self._caught(tap, error)
