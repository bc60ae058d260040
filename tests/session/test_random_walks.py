"""Random walks: peers, application and network do what they like; what always holds is checked.

Each seed is a walk of its own, so one that fails can be walked again.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sessioncore import Echo, Silence, Tone
from sessioncore.errors import CallFailed, CallOver, OneWayByAgreement
from sessioncore.events import Event
from sessioncore.media.sinks import Deliver
from sessioncore.settings import Settings
from sessioncore.sip.message import build_request
from sessioncore.testing import messages
from sessioncore.testing.links import Link
from sessioncore.testing.network import FakeNetwork
from tests.session.scene import B, C, Caller, Party, Peer, parsed

WALKS = range(75, 110)
STEPS = 60
ENDS = ("CallEnded", "CallFailed")
ONCE = ("CallAnswered", "EarlyMediaStarted", "DialogEstablished", *ENDS)


class Walk:
    """One server and client at B, everybody else at C."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        link = Link(
            loss=random.choice((0.0, 0.1, 0.3)),
            duplicate=random.choice((0.0, 0.2)),
            reorder=random.choice((0.0, 0.2)),
        )
        self.temper = random.choice((0.0, 0.05, 0.15))
        """How likely the application hangs up for what it is told."""
        self.network = FakeNetwork(seed, link=link)
        self.us = Party(self.network.host(B), Settings(max_calls=50), self.decide)
        self.us.manager.add_event_sink(self.told)
        self.them = Peer(self.network.host(C))
        self.media = [Peer(self.network.host(C), port) for port in (40_000, 40_010)]
        self.callers: list[Caller] = []
        self.stories: dict[str, list[str]] = {}
        self.number = 0
        self.steps = (
            *(self.invite, self.cancel, self.request, self.place, self.place) * 2,
            *(self.acknowledge, self.repeat, self.reply, self.reply, self.wait) * 3,
            *(self.use, self.talk, self.reinvite, self.within_ours) * 4,
        )

    # What the application does.

    def decide(self, call: Any) -> Any:
        for milestone in (call.when_answered(), call.when_two_way()):
            milestone.addErrback(lambda failure: failure.trap(CallFailed, OneWayByAgreement))
        how = self.random.randrange(5)
        if how == 0:
            call.reject(486)
        elif how < 3:
            call.ring(early_media=how == 1)
        return call.answer(Echo()) if how == 4 else None

    def told(self, event: Event) -> None:
        self.stories.setdefault(event.session, []).append(event.name)
        if self.random.random() < self.temper:
            for call in self.us.manager.calls:
                if call.session == event.session:
                    call.hang_up()

    def use(self) -> None:
        for call in self.random.sample(self.us.manager.calls, bool(self.us.manager.calls)):
            try:
                self.use_one(call)
            except (CallOver, CallFailed):
                pass

    def use_one(self, call: Any) -> None:
        how = self.random.randrange(7)
        if how < 2:
            call.ring(early_media=how == 1)
        elif how == 2:
            call.answer(Tone()).addErrback(lambda failure: failure.trap(CallOver, CallFailed))
        elif how == 3:
            call.reject()
        elif how == 4:
            call.hang_up()
        elif how == 5:
            call.set_source(self.random.choice((Tone(), Echo(), Silence())))
        else:
            call.set_sink(Deliver(lambda samples: None))

    def place(self) -> None:
        if len(self.us.manager.calls) < 20:
            self.us.manager.call(f"sip:bob@{C}", late_offer=self.random.random() < 0.4)

    # What the others do.

    def body(self) -> bytes:
        random = self.random
        kind = random.random()
        if kind < 0.3:
            bad = (
                messages.offer("224.1.1.1"),
                messages.offer(C, 0),
                messages.offer(C, formats=(18,)),
            )
            return random.choice((b"", b"", b"", b"v=no", messages.offer("0.0.0.0"), *bad))
        return messages.offer(
            C,
            random.choice((40_000, 40_000, 40_010)),
            direction=random.choice(("sendrecv", "sendonly", "recvonly", "inactive")),
            version=random.randrange(1, 4),
            formats=random.choice(((0, 8, 101), (8,), (0,), (0, 8, 13, 101))),
        )

    def invite(self) -> None:
        name = f"walk-{len(self.callers)}"
        if len(self.callers) < 6:
            self.callers.append(Caller(self.them, B, call_id=name, branch=f"z9hG4bK{name}"))
            self.callers[-1].invite(body=self.body())

    def cancel(self) -> None:
        for caller in self.random.sample(self.callers, bool(self.callers)):
            caller.cancel()

    def repeat(self) -> None:
        sent = [each.data for each in self.network.captured if each.source == (C, 5060)]
        if sent:
            self.them.send(self.random.choice(sent[-20:]), (B, 5060))

    def answered(self) -> Caller | None:
        """Some caller of ours that got a 2xx or an early dialog, which it goes on with."""
        for caller in self.random.sample(self.callers, bool(self.callers)):
            said = [
                data
                for _, data, _ in self.them.heard
                if data.startswith((b"SIP/2.0 2", b"SIP/2.0 18"))
                and parsed(data).cseq.method == b"INVITE"
                and parsed(data).call_id == caller.who.call_id.encode()
            ]
            if said:
                caller.answer = self.random.choice(said)
                return caller
        return None

    def acknowledge(self) -> None:
        caller = self.answered()
        if caller is not None:
            sequence = parsed(caller.answer).cseq.number
            body = self.random.choice((b"", self.body()))
            caller.send(messages.ack(caller.who, to=caller.answer, body=body, sequence=sequence))

    def reinvite(self) -> None:
        caller = self.answered()
        if caller is not None:
            caller.within("INVITE", body=self.body())

    def request(self) -> None:
        caller = self.answered()
        if caller is not None:
            caller.within(self.random.choice(("BYE", "OPTIONS", "UPDATE")))

    def reply(self) -> None:
        """An answer to some request of ours; to INVITEs, that of several forks."""
        heard = [data for _, data, _ in self.them.heard if data[:4] in (b"INVI", b"BYE ", b"CANC")]
        if not heard:
            return
        random = self.random
        request = random.choice(heard[-8:])
        if request[:4] == b"INVI":
            status = random.choice((100, 180, 183, 183, 200, 200, 200, 302, 486, 487, 503))
            body = self.body() if status in (183, 200) else b""
            tag = random.choice(("one", "one", "one", "other"))
            answer = messages.response(request, status, body=body, to_tag=tag, contact=(C, 5060))
        else:
            answer = messages.response(request, random.choice((100, 200, 481)))
        self.them.send(answer, (B, 5060))

    def within_ours(self) -> None:
        """A request within a dialog that we began."""
        heard = [data for _, data, _ in self.them.heard if data.startswith(b"ACK")]
        if not heard:
            return
        self.number += 1
        ack, method = parsed(self.random.choice(heard)), self.random.choice((b"INVITE", b"BYE"))
        headers = [
            (b"Via", b"SIP/2.0/UDP %b:5060;branch=z9hG4bKr%d" % (C.encode(), self.number)),
            (b"From", ack.first(b"To")),
            (b"To", ack.first(b"From")),
            (b"Call-ID", ack.call_id),
            (b"CSeq", b"%d %b" % (self.number, method)),
            (b"Contact", b"<sip:%b>" % C.encode()),
            (b"Content-Type", b"application/sdp"),
        ]
        body = self.body() if method == b"INVITE" else b""
        self.them.send(build_request(method, b"sip:" + B.encode(), headers, body), (B, 5060))

    def talk(self) -> None:
        for call in self.random.sample(self.us.manager.calls, bool(self.us.manager.calls)):
            peer = self.random.choice(self.media)
            for _ in range(self.random.choice((1, 10))):
                if call.local_rtp is None:
                    break
                self.number += 1
                kind = self.random.choice((0, 0, 8, 13, 101, 99))
                head = bytes((0x80, kind)) + self.number.to_bytes(2, "big")
                head += (160 * self.number).to_bytes(4, "big") + b"abcd"
                peer.send(head + (b"\x05\x80\x01\x00" if kind > 8 else bytes(160)), call.local_rtp)
                self.network.advance(0.02)

    def wait(self) -> None:
        self.network.advance(self.random.choice((0.001, 0.01, 0.1, 0.5, 1.0, 4.0, 33.0)))


class RandomWalkTests(SynchronousTestCase):
    def test_what_always_holds(self) -> None:
        for seed in WALKS:
            self.faults: list[str] = []
            globalLogPublisher.addObserver(self.note)
            try:
                self.walk(Walk(seed))
            except BaseException as error:
                error.add_note(f"in the walk of seed {seed}")
                raise
            finally:
                globalLogPublisher.removeObserver(self.note)

    def note(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None:
            self.faults.append(event["log_failure"].getTraceback())

    def walk(self, walk: Walk) -> None:
        for _ in range(STEPS):
            walk.random.choice(walk.steps)()
            self.assertEqual(self.faults, [])
            for call in walk.us.manager.calls:
                self.check(call)
            for story in walk.stories.values():
                self.check_story(story)
        stopped = walk.us.manager.stop()
        walk.network.advance(5)
        self.successResultOf(stopped)
        self.assertEqual(walk.us.manager.calls, [])
        self.assertFalse(walk.us.manager.plane.active)
        self.assertEqual(walk.us.manager.statistics().media["callback_errors"], 0)

    def check(self, call: Any) -> None:
        """Of a call between turns: media is what its agreement says, and none after our BYE."""
        state, media, agreed = str(call.state), str(call.media_state), call.negotiated_media
        if state in ("Cancelling", "Leaving", "Ending"):
            self.assertFalse(call.transmitting)
            return
        self.assertNotEqual(media, "Ready")
        if media in ("Established", "Active"):
            self.assertEqual(call.transmitting, agreed.audio.sends)
        else:
            self.assertFalse(call.transmitting)
            self.assertNotEqual(state, "Confirmed")

    def check_story(self, story: list[str]) -> None:
        for name in ONCE:
            self.assertLessEqual(story.count(name), 1, story)
        self.assertFalse(set(story[:-1]) & set(ENDS), story)
