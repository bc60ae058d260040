"""What the commands and the daemon do to their process."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import sys
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.process import (
    IdleCollector,
    end_without_traceback,
    memory_in_use,
    print_last,
)
from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import Outcome

LINE = "sessioncore: 1 call, 1 with audio both ways, 0 failed\n"


class HookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.usual: list[Any] = []
        self.error = io.StringIO()
        self.patch(sys, "excepthook", lambda *args: self.usual.append(args))
        self.patch(sys, "__stderr__", self.error)
        end_without_traceback()

    def test_a_configuration_error_is_one_line(self) -> None:
        sys.excepthook(ConfigurationError, ConfigurationError("port 5060 is in use"), None)
        self.assertEqual(self.error.getvalue(), "sessioncore: port 5060 is in use\n")
        self.assertEqual(self.usual, [])

    def test_other_errors_keep_their_traceback(self) -> None:
        other = RuntimeError("a bug")
        sys.excepthook(RuntimeError, other, None)
        self.assertEqual(self.usual, [(RuntimeError, other, None)])


class IdleCollectorTests(SynchronousTestCase):
    """When it collects; that a call leaves nothing is in `tests.session.test_collector`."""

    def setUp(self) -> None:
        self.addCleanup(gc.enable)
        self.addCleanup(gc.unfreeze)
        self.idle, self.memory, self.collected = True, 100 << 20, 0
        self.collector = IdleCollector(
            lambda: self.idle, memory=lambda: self.memory, most_growth=10 << 20
        )
        self.collector.start(0)
        self.patch(gc, "collect", self.collect)

    def collect(self) -> int:
        self.collected += 1
        return 7

    def look(self, seconds: int) -> int:
        """How many collections there were when it looked."""
        self.collected = 0
        self.collector.look(seconds * SECOND)
        return self.collected

    def test_automatic_collections_end(self) -> None:
        self.assertFalse(gc.isenabled())
        self.assertGreater(gc.get_freeze_count(), 1000)

    def test_once_a_minute_while_idle(self) -> None:
        self.assertEqual([self.look(at) for at in (59, 60, 61, 119, 120)], [0, 1, 0, 0, 1])

    def test_never_while_calls_are_up(self) -> None:
        self.idle = False
        self.memory += (10 << 20) - 1
        self.assertEqual([self.look(at) for at in range(0, 1000, 5)], [0] * 200)
        self.idle = True
        self.assertEqual(self.look(1001), 1)

    def test_the_last_resort(self) -> None:
        self.idle = False
        self.memory += 10 << 20
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        # Once for each such growth.
        self.assertEqual([self.look(at) for at in (1, 2, 3)], [1, 0, 0])
        (event,) = logged
        self.assertEqual(
            formatEvent(event),
            "the process has grown by 10 MiB while calls were up; collected 7 objects",
        )
        self.memory += 10 << 20
        self.assertEqual(self.look(4), 1)

    def test_memory_of_this_process(self) -> None:
        self.assertGreater(memory_in_use(), 10 << 20)
        self.assertLess(memory_in_use(), 1 << 40)


class LastLineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out: Any = io.StringIO()
        self.later: list[Any] = []
        self.patch(sys, "__stdout__", self.out)
        self.patch(atexit, "register", lambda function, *args: self.later.append((function, args)))

    def test_after_all_that_twistd_says(self) -> None:
        print_last(Outcome(1, 1), False)
        self.assertEqual(self.out.getvalue(), "")
        ((function, args),) = self.later
        function(*args)
        self.assertEqual(self.out.getvalue(), LINE)

    def test_at_once_where_a_signal_will_end_the_process(self) -> None:
        print_last(Outcome(1, 1), True)
        self.assertEqual((self.out.getvalue(), self.later), (LINE, []))

    def test_nobody_reads(self) -> None:
        def broken(text: str) -> int:
            raise OSError(errno.EPIPE, "Broken pipe")

        self.out.write = broken
        print_last(Outcome(1, 1), True)
        self.patch(sys, "__stdout__", None)
        print_last(Outcome(1, 1), True)
