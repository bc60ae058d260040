"""Peers that say anything in any order: no fault of ours, nothing left behind, one end each."""

from __future__ import annotations

from random import Random
from typing import Any

from sessioncore.errors import CallFailed, CallOver
from sessioncore.session.call import Call
from sessioncore.testing import messages
from tests.session.scene import A, B, C, Party, Peer, Scene, answer, early, ring
from tests.session.test_coordinator import story_faults

BODIES = (
    b"",
    b"nonsense",
    messages.offer(C),
    messages.offer(C, version=2, direction="sendonly"),
    messages.offer(C, 40_010, version=3),
    messages.offer(C, 0, version=4),
    messages.offer("0.0.0.0", version=5),
    messages.offer(C, formats=(18,), version=6),
    messages.offer("127.0.0.1", version=7),
)
CONTACTS = (
    f"<sip:x@{C}:5060>",
    "<sip:x@slow.example.com:5060>",
    "<sip:x@nowhere.example.com>",
    "<mailto:x@y>",
    "<sip:x@[2001:db8::1]>",
)


class StrangerTests(Scene):
    def end(self, us: Party, seed: int) -> None:
        """Let everything time out; then look for faults and remains."""
        self.run_for(10)
        for call in us.manager.calls:
            call.hang_up()
        self.run_for(100)
        self.assertEqual(us.manager.calls, [], f"seed {seed}")
        self.assertTrue(us.manager._coordinator.registry.idle, f"seed {seed}")
        self.assertEqual(us.manager._transports[0].errors, 0, f"seed {seed}")
        self.assertEqual(us.counters["handler_errors"], 0, f"seed {seed}")
        self.assertEqual(self.flushLoggedErrors(), [], f"seed {seed}")
        self.assertTidy(us)
        by_session: dict[str, list[Any]] = {}
        for event in us.events:
            by_session.setdefault(event.session, []).append(event)
        for events in by_session.values():
            names = [event.name for event in events]
            self.assertEqual(story_faults(events), [], f"seed {seed}: {names}")

    def begin(self, seed: int) -> Random:
        self.parties.clear()
        super().setUp()
        self.network.capture = False
        self.network.names.silent.add("slow.example.com")
        return Random(seed)

    def test_callers(self) -> None:
        for seed in range(20):
            random = self.begin(seed)

            def decide(call: Call, random: Random = random) -> Any:
                random.choice((answer, ring, early))(call)
                self.network.clock.callLater(random.uniform(0, 1), _answered, call)

            us = self.party(B, decide)
            them = self.peer(C)
            who = messages.Caller(local=(C, 5060), remote=(B, 5060), local_tag="f")
            for number in range(25):
                them.send(self.some_request(random, who, them, number), (B, 5060))
                self.run_for(random.choice((0, 0.001, 0.05, 0.6)))
            self.end(us, seed)

    def some_request(self, random: Random, who: messages.Caller, them: Peer, number: int) -> bytes:
        method = random.choice(
            ("INVITE", "INVITE", "ACK", "ACK", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE")
        )
        answers = [data for _, data, _ in them.heard if data.startswith(b"SIP/2.0 ")]
        tag = messages.tag(random.choice(answers), "To") if answers else ""
        given: dict[str, Any] = {
            "call_id": random.choice(("one", "one", "two")),
            "remote_tag": random.choice((tag, tag, "")),
            "sequence": random.choice((1, 1, 2, 3, number + 1)),
            "branch": "z9hG4bK" + random.choice(("a", "b", str(number))),
            "body": random.choice(BODIES),
        }
        if random.random() < 0.2:
            given["headers"] = [("Contact", random.choice(CONTACTS))]
        return messages.request(method, who, **given)

    def test_callees(self) -> None:
        for seed in range(20):
            random = self.begin(seed)
            us = self.party(A)
            them = self.peer(B)
            calls = [us.call(f"sip:bob@{B}", late_offer=bool(random.getrandbits(1)))]
            self.run_for(0.01)
            for _ in range(20):
                asked = [data for _, data, _ in them.heard]
                body = random.choice(BODIES).replace(C.encode(), B.encode())
                status = random.choice((100, 180, 183, 183, 200, 200, 200, 302, 486, 487, 503, 606))
                tag = random.choice(("x", "x", "y", "z"))
                headers = [("Contact", random.choice(CONTACTS))] if random.random() < 0.3 else []
                them.send(
                    messages.response(
                        random.choice(asked), status, to_tag=tag, headers=headers, body=body
                    ),
                    (A, 5060),
                )
                if random.random() < 0.1:
                    random.choice(calls).hang_up()
                if random.random() < 0.1:
                    calls.append(us.call(f"sip:bob@{B}"))
                self.run_for(random.choice((0, 0.001, 0.05, 0.6)))
            self.end(us, seed)


def _answered(call: Call) -> None:
    call.answer().addErrback(lambda failure: failure.trap(CallFailed, CallOver))
