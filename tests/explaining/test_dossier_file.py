"""Dossiers are read, by way of what writes them."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import UnreadableInput
from sessioncore.explaining.report import Report
from sessioncore.watching.dossier import Dossier, SipEntry
from tests.explaining.captures import A, B, read
from tests.explaining.scenes import POLICY, Scene
from tests.watching.test_dossier_reader import DOSSIER
from tests.watching.test_dossiers import DossierCase, ring_and_answer

GOOD = Scene()


def entry(data: bytes, at: float, source: Any = A, destination: Any = B, **more: Any) -> SipEntry:
    line = data.split(b"\r\n")[0].decode()
    text = more.pop("text", data.decode())
    return SipEntry(at, True, "UDP", source, destination, len(data), line, text, **more)


MESSAGES = (entry(GOOD.invite, 0.0), entry(GOOD.success, 1.5, B, A))


def file(dossier: Dossier) -> bytes:
    return "".join(dossier.pieces()).encode()


class DossierFiles(SynchronousTestCase):
    def test_messages_and_verdict(self) -> None:
        seen = read(file(evolve(DOSSIER, messages=MESSAGES, messages_dropped=3)))
        self.assertEqual([each.raw for each in seen.sightings], [GOOD.invite, GOOD.success])
        first, second = seen.sightings
        self.assertEqual((first.source, first.destination, second.source), (A, B, B))
        self.assertEqual((first.at, second.at - first.at),
                         (1_767_268_800_000_000_000, 1_500_000_000))  # fmt: skip
        self.assertEqual(seen.kind, "a dossier")
        self.assertEqual(len(seen.remarks), 2)
        self.assertTrue(seen.remarks[0].startswith("the verdict of sessioncore, which was one side"
                                                   " of the call, was "))  # fmt: skip
        self.assertIn(DOSSIER.verdict["causes"][0]["text"], seen.remarks[0])
        self.assertEqual(seen.remarks[1], "3 messages were not kept")
        report = Report("x", seen, POLICY)
        self.assertEqual([each.name for each in report.calls[0].findings], [])

    def test_retransmissions_and_messages_that_are_too_long(self) -> None:
        again = entry(GOOD.invite, 0.5, text="", copy_of=0)
        long = entry(GOOD.success, 1.0, text=GOOD.success.decode()[:-9])
        seen = read(file(evolve(DOSSIER, messages=(MESSAGES[0], again, long))))
        self.assertEqual(seen.sightings[1].raw, GOOD.invite)
        self.assertEqual([each.whole for each in seen.sightings], [True, True, False])

    def test_what_is_none(self) -> None:
        for data, why in (
            (b"{}", "the file: it is not a dossier; name a file that --dossier wrote"),
            (b"{", "the file: it is not JSON that can be read"),
            (b'{"a":' * 100_000, "not JSON that can be read"),
            (file(evolve(DOSSIER, schema=99)), "it has schema 99"),
        ):
            with self.assertRaisesRegex(UnreadableInput, why):
                read(data)

    def test_what_was_changed_by_hand(self) -> None:
        plain = json.loads(file(evolve(DOSSIER, messages=MESSAGES, started="once")))
        plain["messages"][0] |= {"at": 1e300, "source": ["\x1b[2J", 5060], "encoding": "punycode"}
        plain["messages"][1] |= {"at": float("nan"), "destination": ["192.0.2.1", 70_000],
                                 "copy_of": 99}  # fmt: skip
        plain["verdict"] = {"judgement": "\x1b[2J", "causes": "none"}
        seen = read(json.dumps(plain).encode())
        first, second = seen.sightings
        self.assertEqual(
            (first.at, first.source, second.at, second.destination), (0, None, 0, None)
        )
        for line in Report("x", seen, POLICY).text().split("\n"):
            self.assertTrue(line.isprintable(), line)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        text = bytearray(file(evolve(DOSSIER, messages=MESSAGES)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(1, len(text) - 1))
            text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        try:
            Report("x", read(bytes(text)), POLICY).text()
        except UnreadableInput as error:
            self.assertNotIn("\n", str(error))


class RealDossiers(DossierCase):
    def test_a_call_of_our_own(self) -> None:
        us, _ = self.party(A[0]), self.party(B[0], ring_and_answer)
        made = self.dossiers(us)
        self.talk(us)
        (path,) = self.files(made)
        report = Report("x", read(path.read_bytes()), POLICY)
        self.assertEqual(report.findings, [])
        self.assertIn("two_way", report.seen.remarks[0])
        self.assertEqual(len(report.calls[0].exchanges), 1)
