"""The testing kit: an in-memory network with a fake clock, a pair of legs, SIP messages, ears.

`FakeNetwork` gives hosts that stand in for a reactor (loss, duplication, reordering, delay and
NAT by seed); `LegPair` two managers on one; `messages` builds SIP messages as bytes;
`tone_report` and `listen` say which tone a recording holds.
"""

from __future__ import annotations

from sessioncore.testing import messages
from sessioncore.testing.network import Datagram, FakeHost, FakeNat, FakeNetwork, FakeUdpPort, Link
from sessioncore.testing.pair import LegPair
from sessioncore.testing.tones import ToneReport, listen, sine, tone_report

__all__ = [
    "Datagram",
    "FakeHost",
    "FakeNat",
    "FakeNetwork",
    "FakeUdpPort",
    "LegPair",
    "Link",
    "ToneReport",
    "listen",
    "messages",
    "sine",
    "tone_report",
]
