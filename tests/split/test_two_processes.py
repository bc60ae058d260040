"""A caller and a callee in two processes, over each API; audio proven in both directions."""

from __future__ import annotations

import json
from typing import Any

from tests.split import bothways
from tests.split.processes import Process, ProcessTestCase, port_of, read_events

PEER = ("-m", "tests.split.peer")
OPENINGS = {
    "UAC": (bothways.UAC_OPENING, bothways.UAC_REST),
    "UAS": (bothways.UAS_OPENING, bothways.UAS_REST),
}


def events_of(process: Process) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in process.lines if line.startswith("{")]
    return [record for record in records if "event" in record]


class ApiTests(ProcessTestCase):
    """Scenarios (b) and (c) of the design."""

    def run_api(self, api: str) -> None:
        uas_wav, uac_wav = self.folder / "uas.wav", self.folder / "uac.wav"
        uas = self.start(*PEER, api, "uas", uas_wav)
        port = uas.record("listening")[1]
        uac = self.start(*PEER, api, "uac", uac_wav, port)
        ours, theirs = uac.record("two_way"), uas.record("two_way")
        for side in (ours, theirs):
            self.assertEqual(side["state"], "Active")
            self.assertTrue(side["transmitting"])
            self.assertIn("PCMU/8000 sendrecv", side["negotiated"])
        self.assertEqual(ours["remote"], theirs["local"])
        self.assertEqual(theirs["remote"], ours["local"])
        self.assertIn("local", uac.record("ended"))
        self.assertIn("remote", uas.record("ended"))
        self.assertEqual((uac.wait(), uas.wait()), (0, 0), uac.output + uas.output)
        for process, role in ((uac, "UAC"), (uas, "UAS")):
            bothways.check_events(self, events_of(process), role, *OPENINGS[role])
        bothways.check_addresses(self, events_of(uac), events_of(uas))
        bothways.check_recording(self, uac_wav, bothways.UAS_HZ, bothways.UAC_HZ)
        bothways.check_recording(self, uas_wav, bothways.UAC_HZ, bothways.UAS_HZ)

    def test_session_manager(self) -> None:
        self.run_api("manager")

    def test_user_agents(self) -> None:
        self.run_api("agents")


class TwistdTests(ProcessTestCase):
    """The same between two ``twistd`` processes, with nothing but options."""

    def test_pair(self) -> None:
        (self.folder / "heard").mkdir()
        uas = self.twistd(
            *("--role=uas", "--listen=udp:0:interface=127.0.0.1", "--answer=tone:1000"),
            *("--record-dir=heard", "--events=uas.jsonl"),
        )
        port = port_of(uas.line("UAS on 127.0.0.1:"))
        uac = self.twistd(
            *("--role=uac", "--listen=udp:0:interface=127.0.0.1", "--play=tone:440"),
            *(f"--call=sip:bob@127.0.0.1:{port}", "--from=sip:alice@127.0.0.1"),
            *("--record=uac.wav", "--duration=2", "--events=uac.jsonl"),
        )
        self.assertEqual(uac.wait(), 0, uac.output)
        self.assertEqual(
            uac.lines[-1], "sessioncore: 1 call, 1 with audio both ways, 0 failed", uac.output
        )
        uas.line("[UAS] Event: CallSummary")
        uas.terminate()
        self.assertEqual(uas.wait(), -15, uas.output)
        self.assertNotIn("Traceback", uac.output + uas.output)
        self.check_files()
        self.assertIn("[UAC] Event: CallAnswered, Media State: Ready, Session: ", uac.output)
        self.assertIn("[UAS] Event: CallAnswered, Media State: Ready, Session: ", uas.output)

    def check_files(self) -> None:
        ours, theirs = (read_events(self.folder / f"{role}.jsonl") for role in ("uac", "uas"))
        self.assertEqual([record["event"] for record in ours[-2:]], ["CallSummary", "RunEnded"])
        summaries = ours[-2], theirs[-1]
        self.assertTrue(all(summary["passed"] for summary in summaries), summaries)
        calls = ours[:-2], theirs[:-1]
        for records, role in zip(calls, ("UAC", "UAS"), strict=True):
            bothways.check_events(self, records, role, *OPENINGS[role])
        bothways.check_addresses(self, *calls)
        (heard,) = (self.folder / "heard").iterdir()
        bothways.check_recording(self, heard, bothways.UAC_HZ, bothways.UAS_HZ)
        bothways.check_recording(self, self.folder / "uac.wav", bothways.UAS_HZ, bothways.UAC_HZ)
