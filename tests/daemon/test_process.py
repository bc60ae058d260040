"""What the commands and the daemon do to their process."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.process import (
    Ending,
    IdleCollector,
    end_without_traceback,
    memory_in_use,
    on_drain_signal,
    print_last,
    reopen_log_of_twistd,
)
from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import SECOND
from sessioncore.watching.outcome import Outcome

LINE = "sessioncore: 1 call, 1 with audio both ways, 0 failed\n"


class ReopenTests(SynchronousTestCase):
    """The log file of ``twistd``, which only its handler of SIGUSR1 refers to."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "d.log"
        logFile = LogFile.fromFullPath(str(self.path))
        self.log = logFile
        self.addCleanup(logFile.close)

        def rotate(number: int, frame: Any) -> None:
            logFile.rotate()

        handler: Any = rotate
        self.patch(signal, "getsignal", lambda _number: handler)
        self.log.write("before\n")

    def test_it_goes_on_in_a_new_file(self) -> None:
        self.path.rename(self.folder / "away")
        before = self.log._file
        reopen_log_of_twistd()
        self.assertTrue(before.closed)
        self.log.write("after\n")
        self.assertEqual(self.path.read_text(), "after\n")
        self.assertEqual((self.folder / "away").read_text(), "before\n")
        self.assertEqual(self.log.size, len("after\n"))

    def test_it_goes_on_in_the_old_one_if_there_cannot_be_a_new_one(self) -> None:
        away = self.folder.with_name("away" + self.folder.name)
        self.folder.rename(away)
        error = self.assertRaises(OSError, reopen_log_of_twistd)
        self.assertEqual(error.filename, self.log.path)
        self.log.write("after\n")
        self.assertEqual((away / "d.log").read_text(), "before\nafter\n")
        self.assertEqual(self.log.size, len("before\nafter\n"))
        away.rename(self.folder)
        reopen_log_of_twistd()

    def test_also_if_the_new_one_turns_out_to_be_no_file(self) -> None:
        away = self.folder / "away"
        self.path.rename(away)
        os.mkfifo(self.path)
        self.assertRaises(OSError, reopen_log_of_twistd)
        self.log.write("after\n")
        self.assertEqual(away.read_text(), "before\nafter\n")

    def test_nothing_where_there_is_no_log_file(self) -> None:
        self.patch(signal, "getsignal", lambda _number: signal.SIG_DFL)
        reopen_log_of_twistd()
        self.assertFalse(self.log.closed)


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


class SignalTests(SynchronousTestCase):
    """What a signal does, without sending one."""

    def setUp(self) -> None:
        self.heeded: list[int] = []
        self.handlers: dict[int, Any] = {
            signal.SIGINT: lambda number, _frame: self.heeded.append(number),
            signal.SIGTERM: lambda number, _frame: self.heeded.append(number),
            signal.SIGHUP: signal.SIG_DFL,
            signal.SIGUSR2: signal.SIG_DFL,
        }
        self.patch(signal, "getsignal", self.handlers.__getitem__)
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(signal, "raise_signal", self.raised)
        self.hangup_ends = False
        self.hung_up = self.killed = 0

    def raised(self, number: int) -> None:
        self.assertIs(self.handlers[number], signal.SIG_DFL)
        self.killed = number

    def on_hangup(self) -> bool:
        self.hung_up += 1
        return self.hangup_ends

    def heed(self, *numbers: int) -> Ending:
        ending = Ending()
        ending.heed_signals(self.on_hangup)
        for number in numbers:
            self.handlers[number](number, None)
        return ending

    def test_the_second_ctrl_c_ends_at_once(self) -> None:
        ending = self.heed(signal.SIGINT)
        self.assertEqual((self.heeded, self.killed), ([signal.SIGINT], 0))
        self.assertTrue(ending.interrupted)
        self.handlers[signal.SIGINT](signal.SIGINT, None)
        self.assertEqual((self.heeded, self.killed), ([signal.SIGINT], signal.SIGINT))

    def test_sigterm_is_patient_and_counts_as_no_ctrl_c(self) -> None:
        self.heed(signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
        self.assertEqual((self.heeded, self.killed), ([signal.SIGTERM], 0))
        self.handlers[signal.SIGINT](signal.SIGINT, None)
        self.assertEqual(self.killed, signal.SIGINT)

    def test_sighup_ends_only_where_it_should(self) -> None:
        self.heed(signal.SIGHUP, signal.SIGHUP)
        self.assertEqual((self.heeded, self.hung_up), ([], 2))
        self.hangup_ends = True
        self.handlers[signal.SIGHUP](signal.SIGHUP, None)
        self.assertEqual((self.heeded, self.hung_up), ([signal.SIGHUP], 3))

    def test_sighup_stays_ignored_under_nohup(self) -> None:
        self.handlers[signal.SIGHUP] = signal.SIG_IGN
        self.heed()
        self.assertIs(self.handlers[signal.SIGHUP], signal.SIG_IGN)

    def test_drain_at_sigusr2(self) -> None:
        drained: list[str] = []
        on_drain_signal(lambda: drained.append("now"))
        self.handlers[signal.SIGUSR2](signal.SIGUSR2, None)
        self.assertEqual(drained, ["now"])

    def test_a_sigusr2_that_is_taken_stays_so(self) -> None:
        """``twistd -b`` has it for the debugger."""
        taken = self.handlers[signal.SIGUSR2] = lambda number, frame: None
        on_drain_signal(lambda: None)
        self.assertIs(self.handlers[signal.SIGUSR2], taken)


class LastLineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out: Any = io.StringIO()
        self.later: list[Any] = []
        self.statuses: list[int] = []
        self.patch(sys, "__stdout__", self.out)
        self.patch(os, "_exit", self.statuses.append)
        self.patch(atexit, "register", lambda function, *args: self.later.append((function, args)))

    def test_after_all_that_twistd_says(self) -> None:
        print_last(Outcome(1, 1), False)
        self.assertEqual(self.out.getvalue(), "")
        self.run_later()
        self.assertEqual((self.out.getvalue(), self.statuses), (LINE, []))

    def run_later(self) -> None:
        ((function, args),) = self.later
        function(*args)

    def test_calls_that_failed_make_the_exit_status_1(self) -> None:
        outcome = Outcome(2, 1)
        outcome.failed_with("remote 486: Busy Here")
        print_last(outcome, False)
        self.assertEqual(self.statuses, [])
        self.run_later()
        self.assertEqual(self.statuses, [1])
        self.assertIn("1 failed, the first: remote 486: Busy Here\n", self.out.getvalue())

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
