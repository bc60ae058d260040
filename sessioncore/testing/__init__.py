"""The testing kit: an in-memory network with a fake clock, a pair of legs, messages, tones, checks.

`FakeNetwork` provides hosts that stand in for a reactor (loss, duplication, reordering, delay
and NAT by seed).  `LegPair` is two managers on one such network.  `messages` builds SIP messages
as bytes.  `tone_report` and `listen` measure a tone in a recording.  `assert_described`,
`assert_agreed` and `explain_network` check descriptions and calls by what explains them.
"""

from __future__ import annotations

from sessioncore.testing import messages
from sessioncore.testing.explained import (
    assert_agreed,
    assert_described,
    explain_answer,
    explain_network,
    explain_offer,
    lint_description,
    lint_exchange,
)
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
    "assert_agreed",
    "assert_described",
    "explain_answer",
    "explain_network",
    "explain_offer",
    "lint_description",
    "lint_exchange",
    "listen",
    "messages",
    "sine",
    "tone_report",
]
