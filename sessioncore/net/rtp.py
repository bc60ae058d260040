"""Chooses the `PacketIO` for a reactor: our own epoll on Linux, else plain ``IReactorUDP``."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorFDSet

from sessioncore.net.rtp_epoll import EpollPacketIO
from sessioncore.net.rtp_pool import DEFAULT_PORTS
from sessioncore.net.rtp_udp import ReactorPacketIO
from sessioncore.vocabulary import SECOND

__all__ = ["DEFAULT_PORTS", "EpollPacketIO", "ReactorPacketIO", "packet_io_for"]


def packet_io_for(
    reactor: Any,
    *,
    ports: range = DEFAULT_PORTS,
    rest: int = 2 * SECOND,
    now: Callable[[], int] = time.monotonic_ns,
) -> EpollPacketIO | ReactorPacketIO:
    """The fastest `PacketIO` that works on ``reactor``.

    ``ports`` is the range for RTP (even) and RTCP (odd).  ``rest`` is the time in ns for which
    a pair is not lent again after a call.  ``now`` is the clock of the ticks, used for arrivals.
    """
    # A reactor with descriptors opens real sockets; an in-memory one has no sockets to poll.
    real = IReactorFDSet.providedBy(reactor) and sys.platform == "linux"
    if real and hasattr(select, "epoll"):
        return EpollPacketIO(ports=ports, rest=rest, now=now)
    return ReactorPacketIO(reactor, ports=ports, rest=rest, now=now)
