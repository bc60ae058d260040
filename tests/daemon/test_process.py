"""What the commands and the daemon do to their process."""

from __future__ import annotations

import atexit
import errno
import io
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.process import end_without_traceback, print_last
from sessioncore.errors import ConfigurationError
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
