"""What a finished call leaves for the garbage collector: nothing."""

from __future__ import annotations

import gc

from tests.session.scene import Party, Scene


class CollectorTests(Scene):
    """Thousands of calls a second must not wait in cycles for a collection that stops them all."""

    def test_an_answered_call(self) -> None:
        us, them = self.pair()
        self.one_call(us, them)  # with what is made but once
        while gc.collect():
            pass  # what earlier tests left, coroutines that still wait among it
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            self.one_call(us, them)
            gc.collect()
            left = {type(each) for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        self.assertEqual([kind for kind in left if kind.__module__.startswith("sessioncore")], [])

    def one_call(self, us: Party, them: Party) -> None:
        call = us.call()
        self.run_for(1)
        call.hang_up()
        self.run_for(40)  # nothing waits for retransmissions any more
        us.forget()
        them.forget()
        them.incoming.clear()
