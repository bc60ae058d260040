"""The line of a call: what it says of calls as they end, and what a peer can do to it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.events import CallEnded, CallFailed
from sessioncore.manager import SessionManager
from sessioncore.media.sources import Echo, Tone
from sessioncore.settings import Settings
from sessioncore.testing.network import FakeNetwork
from sessioncore.verdict import Evidence, Verdict, judge
from sessioncore.vocabulary import SECOND, Direction, EndedBy, EndReason, MediaState, SessionRole
from sessioncore.watching.call_lines import LONGEST_URI, CallLines
from tests.fakes import agreement

REASON = EndReason(EndedBy.REMOTE, "the peer hung up", None, 16)


def ended(
    kind: Any = CallEnded,
    reason: EndReason = REASON,
    call_id: str = "a@b",
    role: SessionRole = SessionRole.UAS,
) -> Any:
    return kind("7", call_id, role, MediaState.IDLE, 12 * SECOND, reason)


def verdict(**changed: Any) -> Verdict:
    evidence = {
        "answered": True,
        "over": True,
        "agreed_for": 10.0,
        "sends": True,
        "receives": True,
        "direction": Direction.SENDRECV,
        "sent": 500,
        "received": 499,
        "expected": 500,
        "rtp_ago": 0.01,
        "jitter": 0.00025,
        "confirmed": 500,
        "local": ("192.0.2.2", 40_000),
        "described": ("192.0.2.1", 4000),
    }
    return judge(Evidence(**(evidence | changed)))


def a_call(**changed: Any) -> Any:
    return SimpleNamespace(
        **{
            "session": "7",
            "local_uri": "sip:bob@192.0.2.2",
            "remote_uri": "sip:alice@192.0.2.1",
            "negotiated_media": agreement(),
            "verdict": verdict(),
            **changed,
        }
    )


def line(call: Any, event: Any = None) -> str:
    lines = CallLines()
    if call is not None:
        lines.watch(call)
    return lines.lines([event or ended()])


class LineTests(SynchronousTestCase):
    def test_form(self) -> None:
        self.assertEqual(
            line(a_call()),
            "[UAS] Call: answered, From: sip:alice@192.0.2.1, To: sip:bob@192.0.2.2,"
            ' Duration: 10.0 s, Media: "two_way", Sent: 500, Received: 499, Lost: 1,'
            " Jitter: 0.2 ms, Session: 7, Call-ID: a@b,"
            ' Reason: "remote: the peer hung up (Q.850 16)"\n',
        )

    def test_the_caller_comes_first_in_both_roles(self) -> None:
        said = line(a_call(), ended(role=SessionRole.UAC))
        self.assertTrue(said.startswith("[UAC] Call: answered, From: sip:bob@192.0.2.2, To: "))

    def test_a_call_without_media(self) -> None:
        busy = EndReason(EndedBy.LOCAL, "rejected", 486, 17)
        said = line(a_call(negotiated_media=None), ended(CallFailed, busy))
        self.assertTrue(said.startswith("[UAS] Call: failed, From: sip:alice@"), said)
        self.assertNotIn("Media", said)
        self.assertIn('Reason: "local 486: ', said)

    def test_a_call_that_was_refused_before_anybody_was_asked(self) -> None:
        said = line(None, ended(CallFailed, EndReason(EndedBy.ERROR, "nothing in common", 488)))
        self.assertTrue(said.startswith("[UAS] Call: failed, Session: 7, Call-ID: a@b, "), said)

    def test_each_call_has_one_line_and_is_forgotten(self) -> None:
        lines = CallLines()
        lines.watch(a_call())
        self.assertIn("From", lines.lines([ended()]))
        self.assertNotIn("From", lines.lines([ended()]))

    def test_why_media_did_not_go_both_ways(self) -> None:
        said = line(a_call(verdict=verdict(received=0, expected=0, rtp_ago=None, jitter=None)))
        self.assertIn(
            'Media: "no_rx; nothing comes from 192.0.2.1:4000 to 192.0.2.2:40000", Sent: 500,'
            " Received: 0, Lost: 0, Jitter: none",
            said,
        )

    def test_a_long_uri_is_cut(self) -> None:
        said = line(a_call(remote_uri="sip:" + "a" * 500 + "@192.0.2.1"))
        self.assertIn(", From: sip:" + "a" * (LONGEST_URI - 7) + "..., To", said)

    @settings(max_examples=100)
    @given(st.text(), st.text(), st.text())
    def test_a_peer_cannot_forge_a_line(self, uri: str, call_id: str, why: str) -> None:
        said = line(
            a_call(remote_uri=uri), ended(reason=EndReason(EndedBy.REMOTE, why), call_id=call_id)
        )
        self.assertEqual(said.count("\n"), 1)
        self.assertTrue(said[:-1].isascii() and said[:-1].isprintable())
        reason = said.partition(', Reason: "')[2]
        self.assertIn(why, json.loads('"' + reason))


class RealCallTests(SynchronousTestCase):
    def test_both_sides_of_a_call_and_a_refused_one(self) -> None:
        network = FakeNetwork(seed=4)
        lines = CallLines()
        said: list[str] = []

        def answer(call: Any) -> Any:
            lines.watch(call)
            return call.reject(486) if "busy" in call.local_uri else call.answer(source=Echo())

        for host, handler in (("192.0.2.2", answer), ("192.0.2.1", None)):
            manager = SessionManager(network.host(host), Settings(), on_incoming=handler)
            self.successResultOf(manager.start())
            if handler:
                manager.add_event_sink(lambda event: said.append(lines.lines([event])), CallEnded)
                manager.add_event_sink(lambda event: said.append(lines.lines([event])), CallFailed)
        call = manager.call("sip:bob@192.0.2.2", source=Tone())
        network.advance(2)
        call.hang_up()
        manager.call("sip:busy@192.0.2.2")
        network.advance(1)
        self.assertEqual(len(said), 2)
        self.assertRegex(said[0], r'Duration: 2\.0 s, Media: "two_way", Sent: \d+, Received: 100')
        self.assertRegex(said[1], r"Call: failed, From: sip:.*, To: sip:busy@192.0.2.2, Session")
