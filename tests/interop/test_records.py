"""What is written of real calls: dossiers, call records, traces; of SIPp's and of our own."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

from sessioncore.watching.dossier import Dossier
from sessioncore.watching.dossier_reader import read_dossier
from tests.interop import scenarios
from tests.interop.peers import HOST, PeerTestCase, SippTestCase


def written(case: PeerTestCase, folder: str = "dossiers") -> list[Dossier]:
    """All dossiers, by their start."""
    paths = sorted((case.folder / folder).iterdir())
    return sorted(map(read_dossier, paths), key=lambda each: each.started)


def records(case: PeerTestCase, name: str = "cdr.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (case.folder / name).read_text().splitlines()]


class SippRecordTests(SippTestCase):
    def test_calls_without_media(self) -> None:
        """SIPp's uac sends no RTP: nothing is heard, and each call has its dossier."""
        server, port = self.serve("--dossier=dossiers", "--cdr=cdr.jsonl", "--trace=sip.txt")
        self.sipp("-sn", "uac", f"{HOST}:{port}", "-m", "10", "-r", "10", "-d", "3000")
        self.until("the dossiers", lambda: len(written(self)) == 10)
        self.stop(server)
        for dossier in written(self):
            self.assertTrue(dossier.faulty)
            self.assertIn(dossier.verdict["judgement"], ("no_rx", "no_media"))
            self.assertTrue(dossier.verdict["causes"])
            firsts = [entry.first_line.split(" ", 1)[0] for entry in dossier.messages]
            self.assertEqual((firsts[0], firsts[-2:]), ("INVITE", ["BYE", "SIP/2.0"]))
            self.assertEqual({entry.problem for entry in dossier.messages}, {None})
            self.assertIn("established", [step.name for step in dossier.media])
        made = records(self)
        self.assertEqual({record["call_id"] for record in made}, {d.call_id for d in written(self)})
        self.assertEqual({record["ended_by"] for record in made}, {"remote"})
        for record in made:
            self.assertAlmostEqual(record["duration_seconds"], 3.0, 0)
        trace = (self.folder / "sip.txt").read_text()
        self.assertEqual(trace.count("\n  BYE "), 10)
        self.assertEqual(trace.count("Z received UDP "), 30)

    def test_calls_that_are_cancelled(self) -> None:
        server, port = self.serve("--answer-after=30", "--dossier=dossiers", "--cdr=cdr.jsonl")
        text = scenarios.invite() + scenarios.receive(100, optional=True) + scenarios.receive(180)
        text += scenarios.cancel() + scenarios.receive(200) + scenarios.receive(487)
        text += scenarios.ack(failure=True)
        self.sipp("-sf", self.scenario(text), f"{HOST}:{port}", "-m", "3", "-r", "5")
        self.until("the dossiers", lambda: len(written(self)) == 3)
        self.stop(server)
        for dossier in written(self):
            firsts = [entry.first_line.split()[0] for entry in dossier.messages]
            self.assertLess(firsts.index("CANCEL"), firsts.index("ACK"))
            self.assertIn("SIP/2.0 487 Request Terminated", dossier.messages[4].text)
            self.assertEqual(dossier.end and dossier.end["status"], 487)
        self.assertEqual({record["status"] for record in records(self)}, {487})


class OwnRecordTests(PeerTestCase):
    def call(self, port: int, *options: str) -> None:
        call = self.command(
            *("call", f"sip:us@{HOST}:{port}", f"--listen=udp:0:interface={HOST}"),
            *("--play=tone:440", "--duration=1.5", *options),
        )
        self.assertEqual(call.wait(), 0, call.output)

    def test_both_sides_of_a_good_call(self) -> None:
        server, port = self.serve("--dossier=faulty", "--cdr=uas-cdr.jsonl")
        self.call(port, "--dossier=dossiers", "--dossier-for=all", "--cdr=cdr.jsonl")
        self.stop(server)
        self.assertEqual(list((self.folder / "faulty").iterdir()), [])
        (dossier,) = written(self)
        self.assertEqual(dossier.verdict["judgement"], "two_way")
        names = [step.name for step in dossier.media]
        for name in ("negotiated", "established", "first sent", "first received", "active"):
            self.assertIn(name, names)
        ((ours,), (theirs,)) = records(self), records(self, "uas-cdr.jsonl")
        self.assertEqual(ours["call_id"], theirs["call_id"])
        self.assertEqual((ours["judgement"], theirs["judgement"]), ("two_way", "two_way"))
        self.assertEqual((ours["ended_by"], theirs["ended_by"]), ("local", "remote"))
        self.assertAlmostEqual(ours["duration_seconds"], theirs["duration_seconds"], 1)
        self.assertEqual(ours["packets_confirmed"], theirs["packets_received"])

    def test_files_go_on_under_their_names_after_sighup(self) -> None:
        server, port = self.serve("--cdr=cdr.jsonl", "--trace=sip.txt", "--pcap=sip.pcapng")
        self.call(port)
        for name in ("cdr.jsonl", "sip.txt", "sip.pcapng"):
            (self.folder / name).rename(self.folder / f"{name}.1")
        server.popen.send_signal(signal.SIGHUP)
        server.line("reopened the log files")
        self.call(port)
        self.until("the record", lambda: (self.folder / "cdr.jsonl").stat().st_size)
        time.sleep(0.1)
        self.stop(server)
        for name in ("cdr.jsonl", "cdr.jsonl.1"):
            self.assertEqual(len(records(self, name)), 1)
        for name in ("sip.txt", "sip.txt.1"):
            self.assertEqual((self.folder / name).read_text().count("\n  BYE "), 1)
        for name in ("sip.pcapng", "sip.pcapng.1"):
            self.assertEqual((self.folder / name).read_bytes()[:4], b"\x0a\x0d\x0d\x0a")
