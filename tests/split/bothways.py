"""What every scenario with a caller and a callee must show, from events and recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.media.wave import read_wav
from sessioncore.testing.tones import tone_report

UAC_HZ, UAS_HZ = 440, 1000

# Event and media state, up to the one turn in which media is agreed on and runs.
UAC_OPENING = [
    ("OutgoingCallPrepared", "Idle"),
    ("CallInitiated", "Negotiating"),
    ("CallRinging", "Negotiating"),
    ("CallAnswered", "Ready"),
    ("MediaNegotiated", "Ready"),
    ("MediaFlowEstablished", "Established"),
]
UAS_OPENING = [
    ("IncomingCall", "Negotiating"),
    ("CallRinging", "Negotiating"),
    ("CallAccepted", "Negotiating"),
    ("CallAnswered", "Ready"),
    ("MediaNegotiated", "Ready"),
    ("MediaFlowEstablished", "Established"),
]
# Then what depends on which packet comes first: audio or ACK.
UAC_REST = {"AckSent", "DialogEstablished", "MediaActive"}
UAS_REST = {"AckReceived", "DialogEstablished", "MediaActive"}


def check_events(
    test: SynchronousTestCase,
    records: list[dict[str, Any]],
    role: str,
    opening: list[tuple[str, str]],
    rest: set[str],
) -> None:
    """The ladder of one side, with role, one session and one Call-ID throughout."""
    ladder = [(record["event"], record["media_state"]) for record in records]
    names = [name for name, _state in ladder]
    test.assertEqual(ladder[: len(opening)], opening)
    # The peer's first report may come at any time, and proves the call.
    test.assertEqual(names.count("VerdictChanged"), 1)
    names.remove("VerdictChanged")
    test.assertEqual(set(names[len(opening) : -1]), rest, names)
    test.assertEqual(len(names), len(opening) + len(rest) + 1, names)
    test.assertEqual(names[-1], "CallEnded")
    (active,) = [state for name, state in ladder if name == "MediaActive"]
    test.assertEqual(active, "Active")
    acked = "AckSent" if role == "UAC" else "AckReceived"
    test.assertEqual(names.index("DialogEstablished"), names.index(acked) + 1)
    test.assertEqual({record["role"] for record in records}, {role})
    test.assertEqual(len({record["session"] for record in records}), 1)
    times = [record["t"] for record in records]
    test.assertEqual(times, sorted(times))


def check_addresses(
    test: SynchronousTestCase, uac: list[dict[str, Any]], uas: list[dict[str, Any]]
) -> None:
    """Each side sends to where the other receives; both mean the same call."""
    ours, theirs = (
        next(record for record in records if record["event"] == "MediaFlowEstablished")
        for records in (uac, uas)
    )
    test.assertEqual(ours["remote"], theirs["local"])
    test.assertEqual(theirs["remote"], ours["local"])
    test.assertEqual({record["call_id"] for record in uac}, {record["call_id"] for record in uas})


def check_recording(
    test: SynchronousTestCase, path: Path, hertz: int, not_hertz: int, seconds: float = 2.0
) -> None:
    """From 200 ms after the beginning to the BYE: the other's tone, and nothing else."""
    audio = read_wav(path)
    samples = audio.mono[audio.rate // 5 :]
    report = tone_report(samples, audio.rate, float(hertz))
    # All of the call: the end is not lost with the process.
    test.assertGreater(len(audio.mono) / audio.rate, seconds - 0.1, path)
    test.assertGreaterEqual(report.fraction_present, 0.95, f"{path.name}: {report}")
    own = tone_report(samples, audio.rate, float(not_hertz))
    test.assertEqual(own.fraction_present, 0, f"{path.name}: {own}")
