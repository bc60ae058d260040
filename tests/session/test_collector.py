"""What a finished call leaves for the garbage collector: nothing.

The daemon's collector never runs while calls are up, so what they left would stay.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from sessioncore.session.call import Call
from sessioncore.vocabulary import Direction
from tests.session import scene
from tests.session.scene import A, Party, Peer, Scene


class CollectorTests(Scene):
    """Thousands of calls a second must not wait in cycles for a collection that stops them all."""

    def assertLeavesNothing(self, act: Callable[[], None]) -> None:
        act()  # with what is made but once
        while gc.collect():
            pass  # what earlier tests left, coroutines that still wait among it
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            act()
            gc.collect()
            left = sorted({type(each).__qualname__ for each in gc.garbage})
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        self.assertEqual(left, [])

    def one_call(self, us: Party, them: Party, end: Callable[[Call], object]) -> None:
        call = us.call()
        self.run_for(1)
        end(call)
        del call
        self.run_for(100)  # nothing waits for retransmissions any more
        us.forget()
        them.forget()
        them.incoming.clear()
        self.network.captured.clear()

    def test_an_answered_call(self) -> None:
        us, them = self.pair()
        self.assertLeavesNothing(lambda: self.one_call(us, them, Call.hang_up))

    def test_a_call_that_the_callee_ends(self) -> None:
        us, them = self.pair()
        self.assertLeavesNothing(
            lambda: self.one_call(us, them, lambda _call: them.call_in.hang_up())
        )

    def test_a_call_that_was_answered_by_a_coroutine(self) -> None:
        async def decide(call: Call) -> None:
            call.ring()
            await call.answer()

        us, them = self.pair(decide)
        self.assertLeavesNothing(lambda: self.one_call(us, them, Call.hang_up))

    def test_a_call_that_is_cancelled(self) -> None:
        us, them = self.pair(scene.ring)
        self.assertLeavesNothing(lambda: self.one_call(us, them, Call.hang_up))

    def test_a_call_that_is_rejected(self) -> None:
        us, them = self.pair(lambda call: call.reject(486))
        self.assertLeavesNothing(lambda: self.one_call(us, them, lambda _call: None))

    def test_a_call_that_is_modified_by_both(self) -> None:
        us, them = self.pair()

        def end(call: Call) -> None:
            call.modify(Direction.SENDONLY)
            them.call_in.modify(Direction.RECVONLY)
            self.run_for(10)  # one after the other, after the glare
            call.hang_up()

        self.assertLeavesNothing(lambda: self.one_call(us, them, end))

    def test_a_call_that_nobody_answers(self) -> None:
        us = self.party(A)

        def act() -> None:
            us.call("sip:bob@192.0.2.77")
            self.run_for(100)
            us.forget()
            self.network.captured.clear()

        self.assertLeavesNothing(act)

    def test_what_cannot_be_read(self) -> None:
        us, peer = self.party(A), self.peer()

        def act() -> None:
            for data in (b"nonsense", b"INVITE sip:a SIP/2.0\r\nVia: x\r\n\r\n"):
                peer.send(data, (A, 5060))
            self.run_for(1)
            self.forget(us, peer)

        self.assertLeavesNothing(act)

    def forget(self, us: Party, peer: Peer) -> None:
        us.forget()
        peer.heard.clear()
        peer.take()
        self.network.captured.clear()
