"""Dossiers read back: whole ones, newer ones, damaged ones, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.rtp.codecs.pcmu import PCMU
from sessioncore.verdict import Evidence, judge
from sessioncore.vocabulary import Direction
from sessioncore.watching.dossier import (
    Dossier,
    EventEntry,
    MediaMilestone,
    SipEntry,
    VerdictEntry,
)
from sessioncore.watching.dossier_reader import dossier_from, evidence_from, read_dossier

EVIDENCE = Evidence(
    answered=True,
    over=True,
    agreed_for=9.0,
    receives=True,
    sends=True,
    direction=Direction.SENDRECV,
    payload_type=0,
    codec=PCMU,
    local=("192.0.2.2", 40000),
    described=("10.0.0.1", 5004),
    remote=("10.0.0.1", 5004),
    signalling_host="192.0.2.1",
    stranger=("192.0.2.1", 6000),
    strangers=400,
    sent=440,
    oddities=("an empty line",),
)
VERDICT = judge(EVIDENCE)
DOSSIER = Dossier(
    schema=1,
    program="sessioncore/1",
    session="5f-1",
    call_id="a@b",
    role="UAS",
    local_uri="sip:bob@h",
    remote_uri="sip:J\u00fcrgen\x7f@h",
    request_uri=None,
    started="2026-01-01T12:00:00.000000Z",
    answered_at=0.5,
    ended_at=9.0,
    faulty=True,
    end={"by": "remote", "status": None},
    negotiated={"codec": "PCMU/8000"},
    verdict=VERDICT.as_dict(),
    verdicts=(VerdictEntry(1.5, VERDICT.as_dict()),),
    verdicts_dropped=0,
    statistics=None,
    oddities=("an empty line",),
    media=(MediaMilestone(0.5, "negotiated", "PCMU"), MediaMilestone(1, "active", "")),
    events=(EventEntry(0.0, "CallRinging", "Idle", {"status": 180}),),
    events_dropped=3,
    messages=(
        SipEntry(
            at=0.0,
            sent=False,
            transport="UDP",
            source=("192.0.2.1", 5060),
            destination=("192.0.2.2", 5060),
            octets=3,
            first_line="BYE",
            text="BYE\r\n\u00ff",
            encoding="latin-1",
            description_changes=("-a", "+b"),
        ),
    ),
    messages_dropped=0,
)


def text() -> str:
    return "".join(DOSSIER.pieces())


class ReadTests(SynchronousTestCase):
    def written(self, data: str | bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    def says(self, data: str | bytes) -> str:
        name = self.written(data)
        error = str(self.assertRaises(ConfigurationError, read_dossier, name))
        self.assertTrue(error.startswith(name))
        self.assertNotIn("\n", error)
        return error.removeprefix(name)

    def test_what_was_written(self) -> None:
        self.assertTrue(text().isascii())
        self.assertEqual(json.loads(text()), json.loads(json.dumps(DOSSIER.as_dict())))
        got = read_dossier(self.written(text()))
        plain = json.loads(text())
        self.assertEqual(got.messages, DOSSIER.messages)
        self.assertEqual(got.messages[0].data, b"BYE\r\n\xff")
        self.assertEqual((got.media, got.events), (DOSSIER.media, DOSSIER.events))
        self.assertEqual(got.verdicts[0].verdict, plain["verdicts"][0]["verdict"])
        self.assertEqual(got, attrs.evolve(DOSSIER, verdict=got.verdict, verdicts=got.verdicts))

    def test_a_newer_one_is_refused(self) -> None:
        newer = json.dumps({**json.loads(text()), "schema": 2, "messages": "of another form"})
        self.assertEqual(
            self.says(newer),
            " has schema 2, and this version reads dossiers up to schema 1; use a newer sessioncore"
            " (it was written by sessioncore/1)",
        )

    def test_fields_that_are_not_known(self) -> None:
        plain = json.loads(text())
        plain["mood"] = "good"
        plain["messages"][0]["mood"] = "good"
        self.assertEqual(read_dossier(self.written(json.dumps(plain))).messages, DOSSIER.messages)

    def test_fields_that_came_later_may_be_missing(self) -> None:
        plain = json.loads(text())
        for name in ("encoding", "copy_of", "problem", "description_changes"):
            del plain["messages"][0][name]
        (entry,) = read_dossier(self.written(json.dumps(plain))).messages
        self.assertEqual((entry.encoding, entry.problem), ("utf-8", None))

    def test_what_is_no_dossier(self) -> None:
        says = " is not a dossier; name a file that --dossier wrote"
        for data in (
            *("", "hello", "[]", "5", "null", "{}", "[" * 100_000, b"\xff\xfe"),
            *(
                '{"schema": 1}',
                '{"schema": "1", "messages": []}',
                '{"schema": true, "messages": 0}',
            ),
        ):
            self.assertEqual(self.says(data), says, data[:20])

    def test_damage_is_named(self) -> None:
        for where, value in {
            "messages": {},
            "media": None,
            "session": 5,
            "answered_at": "now",
            "faulty": 0,
            "oddities": "none",
            "verdict": [],
            "events_dropped": True,
        }.items():
            damaged = json.dumps({**json.loads(text()), where: value})
            says = f" is a damaged dossier: {where!r} is missing or of another type"
            self.assertEqual(self.says(damaged), says)
        for name, value in {
            "at": None,
            "source": ["h"],
            "destination": ["h", "5060"],
            "sent": 1,
            "text": None,
        }.items():
            plain = json.loads(text())
            plain["messages"][0][name] = value
            self.assertIn(f"'messages.{name}' is missing", self.says(json.dumps(plain)))
        plain = json.loads(text())
        del plain["call_id"]
        self.assertIn("'call_id' is missing", self.says(json.dumps(plain)))
        plain = json.loads(text())
        plain["events"] = ["CallEnded"]
        self.assertIn("'events' is missing", self.says(json.dumps(plain)))

    def test_a_file_that_is_not_there(self) -> None:
        error = self.assertRaises(ConfigurationError, read_dossier, "/no/such.json")
        self.assertEqual(
            str(error),
            "/no/such.json cannot be read: No such file or directory; name a dossier, which"
            " --dossier writes",
        )

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(st.data())
    def test_any_damage_is_an_error_or_none(self, data: Any) -> None:
        plain = json.loads(text())
        place: Any = plain
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(
                st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
            )
            break
        try:
            self.assertIsInstance(dossier_from(plain), Dossier)
        except ConfigurationError as error:
            self.assertNotIn("\n", str(error))


class EvidenceTests(SynchronousTestCase):
    def test_the_same_verdict_again(self) -> None:
        plain = json.loads(text())["verdict"]
        evidence = evidence_from(plain)
        again = judge(evidence)
        self.assertEqual(again.judgement, VERDICT.judgement)
        self.assertEqual(json.loads(json.dumps(again.as_dict())), plain)
        self.assertEqual(evidence.stranger, ("192.0.2.1", 6000))
        self.assertIs(evidence.direction, Direction.SENDRECV)
        self.assertEqual(str(evidence.codec), "PCMU/8000")

    def test_what_is_missing_has_its_default(self) -> None:
        evidence = evidence_from({"evidence": {"received": 5, "of the future": 1}})
        self.assertEqual((evidence.received, evidence.sent), (5, 0))
        self.assertEqual((evidence.direction, evidence.codec), (Direction.INACTIVE, None))
        self.assertIsNone(evidence_from({"evidence": {"codec": "odd"}}).codec)

    def test_none(self) -> None:
        error = self.assertRaises(ConfigurationError, evidence_from, {})
        self.assertIn("without evidence", str(error))
