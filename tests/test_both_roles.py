"""Both roles in one process: scenario (a) of the design, and what else has to hold anywhere.

Each scenario runs twice, on the in-memory network and over real loopback sockets.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np

from sessioncore.media.sinks import Deliver, Record
from sessioncore.media.sources import Echo, Frames, Silence, Tone
from sessioncore.media.wave import read_wav
from sessioncore.session.call import Call
from sessioncore.testing.tones import sine, tone_report
from sessioncore.vocabulary import MediaState
from tests.calls import InMemory, Meeting, OnLoopback

UAC_HZ, UAS_HZ = 440.0, 1000.0


def check_recording(test: Any, path: Path, hertz: float, seconds: float) -> None:
    """From 200 ms after the first sample to the BYE, the other's tone and nothing else."""
    audio = read_wav(path)
    samples = audio.mono[audio.rate // 5 :]
    test.assertGreater(len(samples), audio.rate * (seconds - 0.4))
    report = tone_report(samples, audio.rate, hertz)
    test.assertGreaterEqual(report.fraction_present, 0.95, f"{path.name}: {report}")


async def audio_both_ways(test: Any, meeting: Meeting) -> None:
    folder = test.folder()
    answered: list[Call] = []

    async def answer(call: Call) -> None:
        answered.append(call)
        call.ring()
        await call.answer(source=Tone((UAS_HZ,)), sink=Record(folder / "uas.wav"))

    uas = await meeting.side(on_incoming=answer)
    uac = await meeting.side()
    call = uac.manager.call(
        meeting.uri(uas), source=Tone((UAC_HZ,)), sink=Record(folder / "uac.wav")
    )
    await call.when_two_way()
    (theirs,) = answered
    await theirs.when_two_way()
    test.assertEqual(call.remote_rtp, theirs.local_rtp)
    test.assertEqual(theirs.remote_rtp, call.local_rtp)
    test.assertTrue(call.transmitting and theirs.transmitting)
    test.assertIs(call.media_state, MediaState.ACTIVE)
    test.assertIs(theirs.media_state, MediaState.ACTIVE)
    await meeting.sleep(2.0)
    await call.hang_up()
    await theirs.when_ended()
    await meeting.sleep(0.1)
    await meeting.stop()
    check_recording(test, folder / "uac.wav", UAS_HZ, 2.0)
    check_recording(test, folder / "uas.wav", UAC_HZ, 2.0)
    test.assertEqual(
        uas.ladder[:6],
        [
            ("IncomingCall", "Negotiating"),
            ("CallRinging", "Negotiating"),
            ("CallAccepted", "Negotiating"),
            ("CallAnswered", "Ready"),
            ("MediaNegotiated", "Ready"),
            ("MediaFlowEstablished", "Established"),
        ],
    )
    test.assertEqual(
        uac.ladder[:6],
        [
            ("OutgoingCallPrepared", "Idle"),
            ("CallInitiated", "Negotiating"),
            ("CallRinging", "Negotiating"),
            ("CallAnswered", "Ready"),
            ("MediaNegotiated", "Ready"),
            ("MediaFlowEstablished", "Established"),
        ],
    )
    for side in (uac, uas):
        test.assertEqual(side.names.count("MediaActive"), 1)
        test.assertEqual(side.names[-1], "CallEnded")


async def echo_of_our_own_frames(test: Any, meeting: Meeting) -> None:
    """An application's numpy frames out, and what comes back, through the echo."""
    frames, heard = Frames(), []

    async def answer(call: Call) -> None:
        await call.answer(source=Echo(gain_db=-6.0))

    uas = await meeting.side(on_incoming=answer)
    uac = await meeting.side()
    call = uac.manager.call(meeting.uri(uas), source=frames, sink=Deliver(heard.append))
    await call.when_two_way()
    spoken = sine(UAC_HZ, 2.0)
    for start in range(0, len(spoken), 800):
        frames.write(spoken[start : start + 800])
        await meeting.sleep(0.1)
    await meeting.sleep(0.3)
    await call.hang_up()
    back = np.concatenate(heard)
    loud = np.flatnonzero(np.abs(back.astype(np.int32)) > 500)
    middle = back[loud[0] + 1600 : loud[-1] - 1600]
    report = tone_report(middle, 8000, UAC_HZ)
    test.assertGreaterEqual(report.fraction_present, 0.9, str(report))
    expected = tone_report(spoken, 8000, UAC_HZ).level_dbov - 6.0
    test.assertLess(abs(report.level_dbov - expected), 0.5)


async def a_stranger_is_neither_heard_nor_answered(test: Any, meeting: Meeting) -> None:
    """RTP from a third address reaches no recording and gets no packet."""
    heard: list[Any] = []

    async def answer(call: Call) -> None:
        await call.answer(source=Silence(), sink=Deliver(heard.append))

    uas = await meeting.side(on_incoming=answer)
    uac = await meeting.side()
    call = uac.manager.call(meeting.uri(uas), source=Silence())
    await call.when_two_way()
    (theirs,) = uas.manager.calls
    target = theirs.local_rtp
    assert target is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.setblocking(False)
        loud = bytes([0x00]) * 160
        for number in range(100):
            packet = b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big")
            stranger.sendto(packet + b"EVIL" + loud, target)
            if number % 5 == 0:
                await meeting.sleep(0.02)
        await meeting.sleep(0.3)
        test.assertRaises(BlockingIOError, stranger.recv, 2048)
    test.assertLess(np.abs(np.concatenate(heard).astype(np.int32)).max(), 100)
    test.assertEqual(theirs.remote_rtp, call.local_rtp)
    await call.hang_up()


async def many_at_once(test: Any, meeting: Meeting) -> None:
    """Thirty calls up together; every one of them has audio both ways."""

    async def answer(call: Call) -> None:
        await call.answer(source=Echo())

    uas = await meeting.side(on_incoming=answer)
    uac = await meeting.side()
    calls = [uac.manager.call(meeting.uri(uas), source=Tone((UAC_HZ,))) for _ in range(30)]
    for call in calls:
        await call.when_two_way()
    await meeting.sleep(0.5)
    for call in calls:
        statistics = call.statistics
        assert statistics is not None
        test.assertGreater(statistics.packets_received, 20)
        test.assertEqual(statistics.strangers, 0)
        await call.hang_up()
    test.assertEqual(uas.manager.calls, [])
    test.assertEqual(uac.manager.statistics().calls["answered"], 30)


class _Scenarios:
    """What both worlds have to show."""

    play: Any

    def test_audio_both_ways(self) -> Any:
        return self.play(audio_both_ways)

    def test_echo_of_our_own_frames(self) -> Any:
        return self.play(echo_of_our_own_frames)

    def test_many_at_once(self) -> Any:
        return self.play(many_at_once)


class InMemoryTests(_Scenarios, InMemory):
    """On the in-memory network, under a fake clock."""


class LoopbackTests(_Scenarios, OnLoopback):
    """With sockets and the reactor."""

    def test_stranger(self) -> Any:
        return self.play(a_stranger_is_neither_heard_nor_answered)
