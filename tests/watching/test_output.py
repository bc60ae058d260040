"""Output without a reader: it is never waited for, what is held is bounded, the rest counted."""

from __future__ import annotations

import io
import os
import pty
import socket
import sys
import termios
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.watching import event_log
from sessioncore.watching import output as module
from sessioncore.watching.event_log import EventLog, open_log, text_line, text_lines
from sessioncore.watching.output import Output, TextOutput, close_outputs, output_of
from tests.watching.test_event_log import event

LINE = b"x" * 99 + b"\n"


class PipeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(module, "PATIENCE", 0.0)
        self.reader, self.writer = self.pair()
        self.addCleanup(self.close)

    def pair(self) -> tuple[int, int]:
        return os.pipe()

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            try:
                os.close(fd)
            except OSError:
                pass

    def read(self, size: int = 1 << 20) -> bytes:
        """What is there to be read now."""
        read = b""
        os.set_blocking(self.reader, False)
        try:
            while piece := os.read(self.reader, size):
                read += piece
        except BlockingIOError:
            pass
        return read


class OutputTests(PipeTestCase):
    """A test that fails here hangs: it waits for a reader that does not come."""

    def test_nobody_reads(self) -> None:
        output = Output(self.writer, most=5000)
        taken = 0
        while (part := output.write(10 * LINE)) is not None:
            self.assertEqual(part % len(LINE), 0)
            taken += part
        self.assertGreater(taken, 5000)
        self.assertLessEqual(output.held, 5000)
        self.assertEqual(output.lost, 0, "who writes counts what was not taken")
        read = self.read()
        output.push()
        read += self.read()
        self.assertEqual(read, LINE * (taken // len(LINE)), "whole lines, in order, none twice")
        self.assertEqual(output.held, 0)

    def test_what_is_held_goes_first(self) -> None:
        output = Output(self.writer)
        while not output.held:
            output.write(LINE)
        self.read()
        output.write(b"last\n")
        self.assertTrue(self.read().endswith(LINE + b"last\n"))

    def test_a_reader_that_goes_away(self) -> None:
        output = Output(self.writer)
        while output.held < 10 * len(LINE):
            output.write(LINE)
        held = output.held
        os.close(self.reader)
        self.assertRaises(BrokenPipeError, output.push)
        self.assertEqual((output.held, output.lost), (0, -(-held // len(LINE))))
        self.assertRaises(BrokenPipeError, output.write, LINE)

    def test_closing_does_not_wait_for_long(self) -> None:
        output = Output(self.writer)
        while output.held < 3 * len(LINE):
            output.write(LINE)
        output.close()
        self.assertEqual(output.held, 0)
        self.assertGreaterEqual(output.lost, 3)

    def test_others_that_share_the_file_still_block(self) -> None:
        Output(self.writer).write(LINE)
        self.assertTrue(os.get_blocking(self.writer))

    def test_text(self) -> None:
        output = Output(self.writer, most=1000)
        text = TextOutput(output, terminal=True)
        self.assertTrue(text.isatty())
        print("é\udc80", file=text, flush=True)
        self.assertEqual(self.read(), "é\\udc80\n".encode())
        for _ in range(5000):
            print("x" * 99, file=text, flush=True)
        self.assertGreater(output.lost, 1000)
        self.assertEqual(output.lost + self.read().count(b"\n") + output.held // 100, 5000)

    def test_a_reader_that_comes_back_is_told_what_it_missed(self) -> None:
        output = Output(self.writer, most=1000)
        text = TextOutput(output)
        lost = 0
        for _ in range(2):
            for number in range(5000):
                text.write(f"{number:099}\n")
            self.assertGreater(output.lost, lost + 1000)
            read = self.read()
            for line in ("first", "", "second"):
                print(line, end=line and "\n", file=text)
            read += self.read()
            *whole, notice, first, second = read.decode().splitlines()
            said = f"sessioncore: {output.lost - lost} lines were dropped here: nobody read them"
            self.assertEqual([notice, first, second], [said, "first", "second"])
            self.assertEqual(whole, [f"{number:099}" for number in range(len(whole))])
            self.assertEqual(len(whole) + output.lost - lost, 5000)
            lost = output.lost

    def test_the_rest_of_a_line_goes_with_its_beginning(self) -> None:
        output = Output(self.writer, most=1000)
        text = TextOutput(output)
        while not text._cut:
            text.write("x" * 100)
        self.read()
        output.push()
        self.read()
        for piece in ("", "of it\nnext", "", " one\n"):
            text.write(piece)
        self.assertEqual(
            self.read().decode().lstrip("\n"),
            "sessioncore: 1 lines were dropped here: nobody read them\nnext one\n",
        )

    def test_an_end_that_found_no_room_is_made_up_for(self) -> None:
        output: Any = mock.Mock(lost=0)
        text = TextOutput(output)
        for piece, taken in (("hello", 5), ("\n", None), ("lost\n", None), ("next\n", 99)):
            output.write.side_effect = lambda data, taken=taken: taken and min(taken, len(data))
            text.write(piece)
        self.assertEqual(output.lost, 2)
        self.assertEqual(
            output.write.call_args.args[0],
            b"\nsessioncore: 2 lines were dropped here: nobody read them\nnext\n",
        )
        text.write("more\n")
        self.assertEqual(output.write.call_args.args[0], b"more\n")

    def test_a_line_that_was_cut_off_is_ended_and_none_begins_in_its_middle(self) -> None:
        output = Output(self.writer, most=1000)
        text = TextOutput(output)
        while not output.lost:
            text.write("yes" * 30)
            text.write("no")
            text.write("\n")
        read = self.read()
        text.write("")
        text.write("last\n")
        read += self.read()
        *whole, notice, last = read.decode().splitlines()
        self.assertEqual((notice[:12], last), ("sessioncore:", "last"))
        for line in whole[:-1]:
            self.assertEqual(line, "yes" * 30 + "no")
        self.assertTrue(("yes" * 30 + "no").startswith(whole[-1]), whole[-1])


class SharedDescriptorTests(OutputTests):
    """Where the file cannot be opened again: other systems, another user's terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(module, "_reopened", lambda fd: None)


class SocketTests(OutputTests):
    """As systemd gives them to a service."""

    def pair(self) -> tuple[int, int]:
        reader, writer = socket.socketpair()
        return reader.detach(), writer.detach()


class TerminalTests(SynchronousTestCase):
    def test_a_terminal_that_was_stopped(self) -> None:
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        termios.tcflow(slave, termios.TCOOFF)
        output = Output(slave)
        for _ in range(1000):
            output.write(LINE)
        self.assertGreater(output.held, 80_000)
        termios.tcflow(slave, termios.TCOON)


class FileTests(SynchronousTestCase):
    def test_a_regular_file_has_no_reader(self) -> None:
        with open(self.mktemp(), "w") as file:
            self.assertIsNone(output_of(file))

    def test_one_output_for_each_file(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with open(writer, "w") as file:
            self.assertIs(output_of(file), output_of(file))
            close_outputs()

    def test_what_is_no_file_stays(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertIs(module.standard_output(), out)


class EventLogTests(PipeTestCase):
    """Events for a standard output that nobody reads."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.file = open(self.writer, "w", closefd=False)  # noqa: SIM115
        self.addCleanup(self.file.close)
        self.patch(sys, "__stdout__", self.file)
        self.told: list[Any] = []
        logger = Logger(namespace="sessioncore.watching.event_log", observer=self.told.append)
        self.patch(event_log, "_log", logger)

    def emit(self, log: EventLog, count: int) -> None:
        for _ in range(count):
            log.event(event(at=self.clockwork.now()))
            self.clock.advance(0.01)

    def test_lines_that_nobody_reads_are_dropped_and_counted(self) -> None:
        log = EventLog(open_log("-"), text_lines, self.clockwork.deadlines)
        size = len(text_line(event()))
        self.emit(log, (1 << 20) // size * 2)
        for _ in range(5):
            self.clock.advance(0.2)
        self.assertGreater(log.lost, 100)
        (told,) = self.told
        self.assertIn("temporarily unavailable", str(told["error"]))
        read = b""
        for _ in range(40):
            read += self.read()
            self.clock.advance(0.2)
        self.assertEqual(read.count(b"\n") + log.lost, (1 << 20) // size * 2)
        self.assertEqual(read.decode(), text_line(event()) * read.count(b"\n"))
        # The reader has come back, though no event has.
        _, again = self.told
        self.assertEqual(again["lost"], log.lost)

    def test_a_slow_reader_gets_all_without_another_event(self) -> None:
        log = EventLog(open_log("-"), text_lines, self.clockwork.deadlines)
        size = len(text_line(event()))
        count = 80_000 // size  # more than a pipe has room for
        self.emit(log, count)
        self.clock.advance(1)
        read = b""
        for _ in range(4):
            read += self.read()
            self.clock.advance(0.2)
        self.assertEqual((read.count(b"\n"), log.lost), (count, 0))

    def test_the_log_is_not_looked_at_again_and_again_without_need(self) -> None:
        log = EventLog(open_log("-"), text_lines, self.clockwork.deadlines)
        self.emit(log, 3)
        self.clock.advance(1)
        self.assertFalse(log._armed)
