"""The testing kit: an in-memory network with a fake clock, peers, faults, assertions, tones.

`FakeNetwork` provides hosts that stand in for a reactor (loss, duplication, reordering, delay
and NAT by seed).  `LegPair` is two managers on one such network, `MediaPeer` a peer that does what
it is told, on that network and on real sockets.  `FaultScene` and `inject` bring about the faults
of the fault book; `assert_two_way`, `assert_no_fault` and `assert_cause` judge a call.  `messages`
builds SIP messages as bytes.  `tone_report` and `listen` measure a tone in a recording.
`sessioncore.testing.pytest_fixtures` has all of it as fixtures.
"""

from __future__ import annotations

from sessioncore.testing import messages
from sessioncore.testing.assertions import assert_cause, assert_no_fault, assert_two_way
from sessioncore.testing.faults import FAULTS, Fault, FaultScene, inject
from sessioncore.testing.media_peer import MediaPeer
from sessioncore.testing.media_script import ScriptedMedia
from sessioncore.testing.network import Datagram, FakeHost, FakeNat, FakeNetwork, FakeUdpPort, Link
from sessioncore.testing.pair import LegPair
from sessioncore.testing.tones import ToneReport, listen, sine, tone_report

__all__ = [
    "FAULTS",
    "Datagram",
    "FakeHost",
    "FakeNat",
    "FakeNetwork",
    "FakeUdpPort",
    "Fault",
    "FaultScene",
    "LegPair",
    "Link",
    "MediaPeer",
    "ScriptedMedia",
    "ToneReport",
    "assert_cause",
    "assert_no_fault",
    "assert_two_way",
    "inject",
    "listen",
    "messages",
    "sine",
    "tone_report",
]
