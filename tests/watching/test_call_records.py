"""Call records: what each field says, for calls of every kind of end."""

from __future__ import annotations

import json
from typing import Any

import attrs
from zope.interface.verify import verifyObject

from sessioncore.events import CallEnded, CallRinging
from sessioncore.interfaces import IEventObserver
from sessioncore.media.sources import Tone
from sessioncore.session.call import Call
from sessioncore.vocabulary import SECOND, MediaState, SessionRole
from sessioncore.watching.call_records import CallRecord, CallRecords, Ended, record_lines
from sessioncore.watching.wall_clock import WallClock
from tests.session.scene import A, B, Party, Scene, answer

NOON = 1_767_268_800 * SECOND
"""2026-01-01T12:00:00Z, when the network begins."""


class RecordTests(Scene):
    def recorded(self, party: Party) -> list[CallRecord]:
        found: list[CallRecord] = []
        clock = WallClock(lambda: 0, lambda: NOON)
        self.ended: list[Ended] = []

        def done(ended: Ended) -> None:
            self.ended.append(ended)
            found.append(ended.record)

        records = CallRecords(party.manager.find_call, clock, done)
        self.assertTrue(verifyObject(IEventObserver, records))
        party.manager.add_event_sink(records, *records.kinds)
        self.records = records
        return found

    def ring_a_second(self, call: Call) -> None:
        call.ring()
        self.network.clock.callLater(1.0, call.answer, source=Tone())

    def test_an_answered_call_on_both_sides(self) -> None:
        us, them = self.party(A), self.party(B, self.ring_a_second)
        ours, theirs = self.recorded(us), self.recorded(them)
        call = us.call(f"sip:bob@{B}", source=Tone(), from_uri="sip:alice@example.com")
        self.run_for(4)
        call.hang_up()
        self.run_for(1)
        (record,) = ours
        self.assertEqual(
            (record.schema, record.session, record.call_id), (1, call.session, call.call_id)
        )
        self.assertEqual(record.role, "UAC")
        self.assertEqual(record.local_uri, "sip:alice@example.com")
        self.assertEqual(record.remote_uri, f"sip:bob@{B}")
        self.assertIsNone(record.request_uri)
        self.assertEqual(record.started, "2026-01-01T12:00:00.000000Z")
        self.assertRegex(str(record.ringing), r"^2026-01-01T12:00:00\.00")
        self.assertRegex(str(record.answered), r"^2026-01-01T12:00:01\.0")
        self.assertRegex(record.ended, r"^2026-01-01T12:00:04\.0")
        assert record.setup_seconds is not None and record.ringing_seconds is not None
        self.assertAlmostEqual(record.setup_seconds, 1.0, 1)
        self.assertAlmostEqual(record.ringing_seconds, 1.0, 1)
        self.assertAlmostEqual(record.duration_seconds, 3.0, 1)
        self.assertAlmostEqual(
            record.total_seconds, record.setup_seconds + record.duration_seconds, 5
        )
        self.assertEqual((record.ended_by, record.status, record.q850_cause), ("local", None, 16))
        self.assertEqual(record.reason, "hung up")
        self.assertEqual((record.codec, record.direction), ("PCMU/8000", "sendrecv"))
        self.assertEqual((record.judgement, record.receiving), ("two_way", "proven"))
        self.assertEqual((record.sending, record.fault_cause), ("proven", None))
        self.assertEqual(record.packets_received, record.packets_due)
        self.assertGreater(record.packets_sent, 140)
        assert record.packets_confirmed is not None and record.jitter_ms is not None
        self.assertGreater(record.packets_confirmed, 100)
        (mirror,) = theirs
        self.assertEqual((mirror.role, mirror.ended_by), ("UAS", "remote"))
        self.assertEqual(mirror.local_uri, f"sip:bob@{B}")
        self.assertEqual(mirror.request_uri, f"sip:bob@{B}")
        self.assertEqual(mirror.remote_uri, "sip:alice@example.com")
        self.assertEqual(mirror.call_id, record.call_id)
        self.assertEqual(self.ended[0].at, them.event("CallEnded").at)

    def test_a_busy_callee(self) -> None:
        us, them = self.party(A), self.party(B, lambda call: call.reject(486))
        ours, theirs = self.recorded(us), self.recorded(them)
        us.call()
        self.run_for(1)
        for (record,), by in ((ours, "remote"), (theirs, "local")):
            self.assertEqual((record.status, record.q850_cause, record.ended_by), (486, 17, by))
            self.assertEqual((record.answered, record.setup_seconds), (None, None))
            self.assertEqual((record.ringing, record.ringing_seconds), (None, None))
            self.assertEqual(record.duration_seconds, 0.0)
            self.assertEqual(record.judgement, "not_answered")
            self.assertEqual((record.codec, record.packets_sent), (None, 0))

    def test_a_call_that_rings_and_is_given_up(self) -> None:
        us, _them = self.pair(lambda call: call.ring())
        ours = self.recorded(us)
        call = us.call()
        self.run_for(2)
        call.hang_up()
        self.run_for(1)
        (record,) = ours
        self.assertEqual((record.ended_by, record.status, record.answered), ("local", None, None))
        self.assertAlmostEqual(record.ringing_seconds or 0.0, 2.0, 1)

    def test_a_call_that_is_refused_before_anybody_is_asked(self) -> None:
        us = self.party(A, codecs=("PCMA",))
        them = self.party(B, answer, codecs=("PCMU",))
        theirs = self.recorded(them)
        us.call()
        self.run_for(1)
        (record,) = theirs
        self.assertEqual((record.status, record.role), (488, "UAS"))
        self.assertEqual(record.local_uri, f"sip:bob@{B}")

    def test_a_call_that_is_never_placed(self) -> None:
        us = self.party(A)
        ours = self.recorded(us)
        call = us.manager.prepare_call(f"sip:bob@{B}")
        self.run_for(2)
        call.hang_up()
        self.run_for(1)
        (record,) = ours
        self.assertEqual(record.started, "2026-01-01T12:00:00.000000Z")
        self.assertAlmostEqual(record.total_seconds, 2.0, 1)

    def test_a_call_that_the_manager_does_not_find(self) -> None:
        us, _them = self.pair()
        found: list[Ended] = []
        records = CallRecords(lambda session: None, WallClock(lambda: 0, lambda: 0), found.append)
        us.manager.add_event_sink(records)
        call = us.call()
        self.run_for(1)
        call.hang_up()
        self.run_for(1)
        record = found[0].record
        self.assertEqual((record.local_uri, record.remote_uri), ("", f"sip:bob@{B}"))
        self.assertEqual((record.codec, record.request_uri), (None, None))
        self.assertEqual(record.judgement, "not_answered")

    def test_calls_that_began_before(self) -> None:
        us, _them = self.pair()
        call = us.call()
        self.run_for(0.5)
        ours = self.recorded(us)
        call.hang_up()
        self.run_for(1)
        self.assertEqual(ours, [])

    def test_nothing_is_kept_of_calls_that_are_over(self) -> None:
        us, _them = self.pair()
        self.recorded(us)
        call = us.call()
        self.run_for(0.5)
        self.assertEqual(len(self.records._accounts), 1)
        call.hang_up()
        self.run_for(1)
        self.assertEqual(self.records._accounts, {})
        for kind, more in ((CallRinging, (180,)), (CallEnded, (call.end_reason,))):
            late: Any = kind
            self.records.event(
                late(call.session, call.call_id, SessionRole.UAC, MediaState.IDLE, 5, *more)
            )
        self.assertEqual(len(self.ended), 1)

    def test_lines(self) -> None:
        us, _them = self.pair()
        ours = self.recorded(us)
        call = us.call()
        self.run_for(0.5)
        call.hang_up()
        self.run_for(1)
        odd = attrs.evolve(ours[0], remote_uri="sip:J\u00fcrgen\x7f@h", reason="a\nb\x1b")
        text = record_lines([*self.ended, Ended(5, odd)])
        lines = text.splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(text.isascii() and "\x7f" not in text)
        self.assertEqual(
            [json.loads(line) for line in lines], [attrs.asdict(ours[0]), attrs.asdict(odd)]
        )
        self.assertEqual(list(json.loads(lines[0]))[:3], ["schema", "session", "call_id"])
