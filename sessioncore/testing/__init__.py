"""The testing kit: an in-memory network with a fake clock, a pair of legs, SIP messages, tones.

`FakeNetwork` provides hosts that stand in for a reactor (loss, duplication, reordering, delay
and NAT by seed).  `LegPair` is two managers on one such network.  `messages` builds SIP messages
as bytes.  `tone_report` and `listen` measure a tone in a recording.
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
