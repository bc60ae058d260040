"""A file of records: whole ones only, gathered, counted where they are lost, never waited for."""

from __future__ import annotations

import io
import os
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.errors import ConfigurationError
from sessioncore.net.clockwork import ReactorClockwork
from sessioncore.watching import record_file
from sessioncore.watching.record_file import MOST_HELD, RecordFile, open_records


class Disk(io.BytesIO):
    """A file with ``room`` for so many bytes more; ``pipe`` cannot be mended, and waits."""

    room: int | None = None
    pipe = False
    writes = 0
    ended = False

    def write(self, data: Any) -> int:
        self.writes += 1
        if self.room is None:
            return super().write(data)
        if not self.room:
            if self.pipe:
                return None  # type: ignore[return-value]
            raise OSError(28, "No space left on device")
        written = super().write(bytes(data)[: self.room])
        self.room -= written
        return written

    def truncate(self, size: int | None = None) -> int:
        if self.pipe:
            raise OSError(22, "Invalid argument")
        return super().truncate(size)

    def close(self) -> None:
        self.ended = True


class RecordFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clockwork = ReactorClockwork(self.clock)
        self.clockwork.start()
        self.told: list[str] = []
        logger = Logger(namespace="x", observer=lambda event: self.told.append(formatEvent(event)))
        self.patch(record_file, "_log", logger)
        self.disk = Disk()
        self.file = self.over(self.disk)

    def over(self, disk: Any) -> RecordFile:
        return RecordFile(disk, b"HEAD", self.clockwork.deadlines, "--pcap x")

    def add(self, *records: bytes) -> None:
        for record in records:
            self.file.add(record, self.clockwork.now())
        self.clock.advance(0.05)

    def test_one_write_for_the_records_of_a_tick(self) -> None:
        self.assertEqual(self.disk.getvalue(), b"HEAD")
        self.file.add(b"one", self.clockwork.now())
        self.assertEqual(self.disk.writes, 1)
        self.add(b"two")
        self.assertEqual((self.disk.getvalue(), self.disk.writes), (b"HEADonetwo", 2))
        self.add(b"three")
        self.assertEqual(self.disk.getvalue(), b"HEADonetwothree")

    def test_a_full_disk_has_whole_records_and_is_told_once(self) -> None:
        self.add(b"one")
        self.disk.room = 5
        self.add(b"two", b"three", b"four")
        self.add(b"five")
        self.assertEqual((self.disk.getvalue(), self.file.lost), (b"HEADonetwo", 3))
        self.assertEqual(
            self.told, ["--pcap x cannot be written any more: No space left on device"]
        )
        self.disk.room = None
        self.add(b"six")
        self.assertEqual(self.disk.getvalue(), b"HEADonetwosix")
        self.assertEqual(self.told[1:], ["--pcap x is written again; 3 records were lost so far"])
        self.disk.room = 0
        self.add(b"seven")
        self.assertEqual((len(self.told), self.file.lost), (3, 4))

    def test_a_file_that_never_had_room_gets_its_preamble_first(self) -> None:
        self.disk = Disk()
        self.disk.room = 2
        self.file = self.over(self.disk)
        self.add(b"one")
        self.assertEqual((self.disk.getvalue(), self.file.lost), (b"", 1))
        self.disk.room = None
        self.add(b"two")
        self.clock.advance(0.1)
        self.assertEqual(self.disk.getvalue(), b"HEADtwo")

    def test_a_slow_reader_gets_all_in_the_end(self) -> None:
        self.disk.pipe, self.disk.room = True, 4
        self.add(b"one", b"two")
        self.assertEqual(self.disk.getvalue(), b"HEADonet")
        self.add(b"three")
        self.disk.room = 6
        self.clock.advance(0.2)
        self.assertEqual(self.disk.getvalue(), b"HEADonetwothre")
        self.disk.room = None
        self.clock.advance(0.2)
        self.assertEqual((self.disk.getvalue(), self.file.lost), (b"HEADonetwothree", 0))

    def test_what_waits_for_a_reader_has_a_limit(self) -> None:
        self.disk.pipe, self.disk.room = True, 1
        big = bytes(MOST_HELD // 4)
        self.add(*[big] * 6)
        self.assertEqual(self.file.lost, 2)
        self.assertEqual(self.told, ["--pcap x cannot be written any more: its reader is too slow"])
        self.disk.room = None
        self.clock.advance(0.2)
        self.assertEqual(len(self.disk.getvalue()), 4 + 4 * len(big))
        self.assertIn("is written again; 2 records were lost", self.told[1])

    def test_a_pipe_whose_reader_went_gets_the_rest_of_a_record_first(self) -> None:
        class Pipe(Disk):
            gone = False

            def write(self, data: Any) -> int:
                if self.gone:
                    raise BrokenPipeError(32, "Broken pipe")
                return super().write(data)

        self.disk = pipe = Pipe()
        self.file = self.over(pipe)
        pipe.pipe, pipe.room = True, 2
        self.add(b"one", b"two")
        pipe.gone = True
        self.clock.advance(0.2)
        self.assertEqual(self.file.lost, 1)
        pipe.gone, pipe.room = False, None
        self.add(b"four")
        self.clock.advance(0.1)
        self.assertEqual(pipe.getvalue(), b"HEADonefour")

    def test_reopened(self) -> None:
        other = Disk()
        self.file.add(b"one", self.clockwork.now())
        self.file.reopen(lambda: other)
        self.assertTrue(self.disk.ended)
        self.add(b"two")
        self.assertEqual((self.disk.getvalue(), other.getvalue()), (b"HEADone", b"HEADtwo"))

        def fails() -> Any:
            raise ConfigurationError("no")

        self.assertRaises(ConfigurationError, self.file.reopen, fails)
        self.add(b"three")
        self.assertEqual(other.getvalue(), b"HEADtwothree")

    def test_close_writes_the_rest_and_counts_what_is_left(self) -> None:
        self.file.add(b"one", self.clockwork.now())
        self.file.close()
        self.assertEqual((self.disk.getvalue(), self.disk.ended), (b"HEADone", True))
        self.disk = Disk()
        self.disk.pipe, self.disk.room = True, 0
        self.file = self.over(self.disk)
        self.add(b"one", b"two")
        self.file.close()
        self.assertEqual((self.disk.getvalue(), self.file.lost), (b"", 2))


class OpenTests(SynchronousTestCase):
    def test_appends_to_its_own_kind_only(self) -> None:
        name = self.mktemp()
        for _ in range(2):
            with open_records(name, "pcap", b"HE") as file:
                file.write(b"HEAD")
        with open(name, "rb") as file:
            self.assertEqual(file.read(), b"HEADHEAD")
        with open(name, "wb") as file:
            file.write(b"letters")
        error = self.assertRaises(ConfigurationError, open_records, name, "pcap", b"HE")
        self.assertEqual(
            str(error),
            f"--pcap {name}: there is a file of another kind; name another, or remove it",
        )
        with open(name, "rb") as file:
            self.assertEqual(file.read(), b"letters")

    def test_what_cannot_be_opened(self) -> None:
        self.addCleanup(os.umask, os.umask(0o027))
        with open_records(self.mktemp(), "pcap", b"HE") as file:
            self.assertEqual(os.fstat(file.fileno()).st_mode & 0o7777, 0o640)
        error = self.assertRaises(ConfigurationError, open_records, "/no/such", "pcap", b"HE")
        self.assertEqual(
            str(error),
            "--pcap /no/such: No such file or directory; name a file that can be written",
        )

    def test_a_named_pipe_is_never_waited_for(self) -> None:
        name = self.mktemp()
        os.mkfifo(name)
        error = self.assertRaises(ConfigurationError, open_records, name, "pcap", b"HE")
        self.assertIn("No such device or address", str(error))
        reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        with open_records(name, "pcap", b"HE") as file:
            file.write(b"HEAD")
            self.assertEqual(os.read(reader, 9), b"HEAD")
