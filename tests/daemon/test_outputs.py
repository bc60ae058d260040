"""What the daemon writes of its calls on request, on the in-memory network."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from sessioncore.daemon.answering import AnswerPlan
from sessioncore.daemon.calling import CallPlan
from sessioncore.daemon.collector import Collector
from sessioncore.daemon.outputs import OutputPlan
from sessioncore.daemon.service import Lines, UacPlan, UacService, UasPlan, UasService
from sessioncore.errors import ConfigurationError
from sessioncore.media.sources import Tone
from sessioncore.settings import Settings
from sessioncore.watching.dossier_reader import read_dossier
from tests.daemon.test_service import ServiceTestCase
from tests.net.test_udp_sender import Heard
from tests.watching.test_hep import chunks
from tests.watching.test_pcapng import blocks


class OutputsTestCase(ServiceTestCase):
    def server(self, lines: Lines | None = None, **outputs: Any) -> UasService:
        plan = UasPlan(Settings(), AnswerPlan(), outputs=OutputPlan(**outputs))
        service = UasService(plan, lines=lines or Lines(), reactor=self.reactor("192.0.2.2"))
        self.started(service)
        return service

    def printed(self) -> Path:
        """Where standard output goes from now on."""
        path = Path(self.mktemp())
        out = path.open("w")
        self.addCleanup(out.close)
        self.patch(sys, "__stdout__", out)
        return path

    def one_call(self, uas: UasService, at: str = "192.0.2.1") -> None:
        uac = self.uac(at=at)
        self.network.advance(3)
        self.stop(uac)


def headings(text: str) -> list[str]:
    """``received INVITE``, ``sent 200``: the messages of a trace."""
    found = re.findall(r"^20\S+Z (\w+) .*\n  (?:SIP/2.0 )?(\w+)", text, re.MULTILINE)
    return [" ".join(each) for each in found]


class TraceTests(OutputsTestCase):
    CALL = ["received INVITE", "sent 180", "sent 200", "received ACK", "received BYE", "sent 200"]

    def test_off(self) -> None:
        uas = self.server()
        self.assertFalse(uas.manager._taps)
        self.stop(uas)

    def test_to_a_file_that_is_reopened(self) -> None:
        name = self.mktemp()
        uas = self.server(trace=name)
        self.one_call(uas)
        os.rename(name, name + ".1")
        uas.reopen()
        self.one_call(uas, "192.0.2.3")
        self.stop(uas)
        for each in (name, name + ".1"):
            self.assertEqual(headings(Path(each).read_text()), self.CALL)

    def test_to_standard_output_among_the_events(self) -> None:
        printed = self.printed()
        uas = self.server(Lines("events"), trace="-")
        self.one_call(uas)
        self.stop(uas)
        lines = [
            line for line in printed.read_text().splitlines() if line[:1] == "[" or line[:2] == "20"
        ]
        order = [line.split()[2 if line[0] == "[" else 1].strip(",") for line in lines]
        self.assertEqual(
            " ".join(order),
            "received IncomingCall sent CallRinging CallAccepted sent CallAnswered MediaNegotiated"
            " MediaFlowEstablished received AckReceived DialogEstablished MediaActive"
            " VerdictChanged received CallEnded CallSummary sent",
        )

    def test_to_standard_output_alone(self) -> None:
        printed = self.printed()
        uas = self.server(trace="-")
        self.one_call(uas)
        self.assertFalse(uas.output_lost)
        self.stop(uas)
        self.assertEqual(headings(printed.read_text()), self.CALL)

    def test_what_is_lost_is_told(self) -> None:
        with open("/dev/full", "w") as full:
            self.patch(sys, "__stdout__", full)
            for where, lost in (("-", True), ("/dev/full", False)):
                uas = self.server(trace=where)
                self.one_call(uas, "192.0.2.1" if lost else "192.0.2.3")
                self.assertIs(uas.output_lost, lost)
                self.assertGreater(uas.lines_lost, 50)
                self.stop(uas)
                self.assertIs(uas.output_lost, lost)

    def test_what_cannot_be_opened_ends_the_start(self) -> None:
        service = UasService(
            UasPlan(Settings(), outputs=OutputPlan(trace="/dev/null/x")),
            reactor=self.reactor("192.0.2.2"),
        )
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertEqual(
            str(error),
            "--trace /dev/null/x: Not a directory; name a file that can be written",
        )

    def test_what_cannot_be_reopened_stays(self) -> None:
        os.mkdir("left")
        uas = self.server(trace="left/trace")
        os.rename("left", "gone")
        uas.reopen()
        self.one_call(uas)
        self.stop(uas)
        self.assertEqual(headings(Path("gone/trace").read_text()), self.CALL)


class PcapTests(OutputsTestCase):
    def test_a_section_for_each_file(self) -> None:
        name = self.mktemp()
        uas = self.server(pcap=name)
        self.one_call(uas)
        os.rename(name, name + ".1")
        uas.reopen()
        self.one_call(uas, "192.0.2.3")
        self.stop(uas)
        self.assertEqual(uas.lines_lost, 0)
        for each in (name, name + ".1"):
            kinds = [kind for kind, _ in blocks(Path(each).read_bytes())]
            # Six messages, and RTCP: a report and the last one, each way.
            self.assertEqual(kinds, [0x0A0D0D0A, 1, *10 * [6]])

    def test_a_full_disk(self) -> None:
        uas = self.server(pcap="/dev/full")
        self.one_call(uas)
        self.assertEqual(uas.lines_lost, 10)
        self.stop(uas)

    def test_a_file_of_another_kind(self) -> None:
        name = self.mktemp()
        Path(name).write_text("a letter")
        plan = UasPlan(Settings(), outputs=OutputPlan(pcap=name))
        service = UasService(plan, reactor=self.reactor("192.0.2.2"))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("there is a file of another kind", str(error))


class HepTests(OutputsTestCase):
    def test_to_a_collector_that_comes_and_goes(self) -> None:
        collector = self.network.host("192.0.2.9")
        uas = self.server(hep=Collector("192.0.2.9", agent=7, password="key"))
        self.one_call(uas)
        self.assertGreater(uas.lines_lost, 1)
        lost, heard = uas.lines_lost, Heard()
        collector.listenUDP(9060, heard)
        self.one_call(uas, "192.0.2.3")
        self.assertEqual((len(heard.data), uas.lines_lost), (10, lost))
        got = [chunks(each) for each in heard.data]
        self.assertEqual(b"".join(sorted(each[11] for each in got)), 6 * b"\1" + 4 * b"\5")
        self.assertEqual({each[17] for each in got}, {got[0][17]})
        self.assertTrue(got[0][15].startswith(b"INVITE "))
        self.assertEqual((got[0][12], got[0][14]), (b"\0\0\0\x07", b"key"))
        self.assertEqual(got[0][4], bytes([192, 0, 2, 2]))
        self.stop(uas)
        self.assertEqual(list(uas.reactor.ports), [])


class CallRecordTests(OutputsTestCase):
    def test_a_line_per_call_in_files_that_are_reopened(self) -> None:
        name = self.mktemp()
        uas = self.server(cdr=name)
        self.one_call(uas)
        self.one_call(uas, "192.0.2.3")
        os.rename(name, name + ".1")
        uas.reopen()
        self.one_call(uas, "192.0.2.4")
        self.stop(uas)
        self.assertEqual(uas.lines_lost, 0)
        for each, count in ((name + ".1", 2), (name, 1)):
            records = [json.loads(line) for line in Path(each).read_text().splitlines()]
            self.assertEqual([record["role"] for record in records], count * ["UAS"])
            # Wall-clock time, whatever the clock of the calls.
            self.assertGreater(records[0]["started"], "2024")

    def test_calls_are_recorded_by_both_roles(self) -> None:
        name = self.mktemp()
        uas = self.uas()
        plan = UacPlan(
            Settings(),
            CallPlan(("sip:b@192.0.2.2",), source=Tone(), duration=1.0),
            outputs=OutputPlan(cdr=name),
        )
        uac = self.started(UacService(plan, say=lambda *_: None, reactor=self.reactor("192.0.2.1")))
        self.network.advance(3)
        self.stop(uac, uas)
        self.assertEqual(json.loads(Path(name).read_text())["ended_by"], "local")

    def test_to_standard_output(self) -> None:
        printed = self.printed()
        uas = self.server(cdr="-")
        self.one_call(uas)
        self.stop(uas)
        self.assertEqual(json.loads(printed.read_text())["judgement"], "two_way")


class DossierTests(OutputsTestCase):
    def test_of_all_calls(self) -> None:
        folder = f"{self.mktemp()}/new/dossiers"
        uas = self.server(dossier=folder, only_faulty=False)
        self.one_call(uas)
        self.stop(uas)
        (name,) = os.listdir(folder)
        got = read_dossier(f"{folder}/{name}")
        self.assertEqual((got.role, len(got.messages)), ("UAS", 6))
        # Wall-clock time, whatever the clock of the calls.
        self.assertGreater(got.started, "2024")
        self.assertEqual(uas.lines_lost, 0)

    def test_of_faulty_calls(self) -> None:
        folder = self.mktemp()
        uas = self.server(dossier=folder)
        self.one_call(uas)
        self.assertEqual(os.listdir(folder), [])
        self.stop(uas)

    def test_of_calls_that_are_up_at_the_end(self) -> None:
        folder = self.mktemp()
        uas = self.server(dossier=folder, only_faulty=False)
        uac = self.uac()
        self.network.advance(0.5)
        self.stop(uas, uac)
        (name,) = os.listdir(folder)
        self.assertIsNotNone(read_dossier(f"{folder}/{name}").end)

    def test_lost_ones_count(self) -> None:
        folder = self.mktemp()
        uas = self.server(dossier=folder, only_faulty=False)
        shutil.rmtree(folder)
        self.one_call(uas)
        self.assertEqual(uas.lines_lost, 1)
        self.stop(uas)

    def test_a_folder_that_cannot_be_made_ends_the_start(self) -> None:
        plan = UasPlan(Settings(), outputs=OutputPlan(dossier="/dev/null/x"))
        service = UasService(plan, reactor=self.reactor("192.0.2.2"))
        error = self.assertRaises(ConfigurationError, service.startService)
        self.assertIn("the folder /dev/null/x for dossiers cannot be used: Not a dir", str(error))
        self.stop(service)
