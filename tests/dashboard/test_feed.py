"""Server-sent events: one set of changes for all readers, and none that anybody waits for."""

from __future__ import annotations

import gc
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard import feed as module
from sessioncore.dashboard.board import Board
from sessioncore.dashboard.feed import MOST_READERS, PATIENCE, Feed, MessagePage, Snapshot
from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.site import PATIENCE as SITE_PATIENCE
from sessioncore.dashboard.site import WebSite
from sessioncore.media.sources import Tone
from sessioncore.testing.pair import LegPair
from sessioncore.vocabulary import SECOND
from tests.dashboard.web import Connection, get


class FeedTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = LegPair(seed=8)
        self.addCleanup(self.pair.close)
        manager = self.pair.callee
        self.board = Board(manager)
        manager.add_event_sink(self.board)
        manager.add_message_tap(self.board)
        self.feed = Feed(self.board, manager.clockwork)
        pages = {
            "/events": self.feed,
            "/now": Snapshot(self.board, manager.clockwork),
            "/message": MessagePage(self.board),
        }
        self.site = WebSite(self.pair.network.clock, Gate(None), pages, {})

    def call(self) -> None:
        self.pair.connect(source=Tone(), answer=lambda call: call.answer(source=Tone()))

    def reader(self, peer: str = "192.0.2.77") -> Connection:
        connection = Connection(self.site, peer)
        connection.ask("/events")
        return connection

    def events(self, connection: Connection) -> list[tuple[str, Any]]:
        """What a reader got since it was asked last."""
        head, _, body = connection.transport.value().partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP"):
            body = head
        connection.transport.clear()
        # Chunks of HTTP/1.1 each begin with their length.
        lines = body.decode("ascii").replace("\r\n", "\n").split("\n")
        found, name = [], ""
        for line in lines:
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                found.append((name, json.loads(line[6:])))
        return found

    def names(self, connection: Connection) -> list[str]:
        return [name for name, _ in self.events(connection)]


class ReaderTests(FeedTestCase):
    def test_everything_then_changes_once_a_second(self) -> None:
        self.call()
        self.pair.advance(0.5)
        reader = self.reader()
        self.assertIn("text/event-stream", reader.response.header("Content-Type"))
        ((name, full),) = self.events(reader)
        self.assertEqual((name, len(full["calls"])), ("full", 1))
        self.pair.advance(3.05)
        self.assertEqual(self.names(reader), ["changes"] * 3)

    def test_the_feed_goes_on_for_longer_than_a_request_may_take(self) -> None:
        reader = self.reader()
        self.pair.advance(3 * SITE_PATIENCE)
        self.assertFalse(reader.transport.aborted)

    def test_json_is_made_once_for_all(self) -> None:
        readers = [self.reader() for _ in range(3)]
        made: list[str] = []
        changes = self.board.changes
        self.patch(self.board, "changes", lambda: made.append(changes()) or made[-1])
        self.pair.advance(2.05)
        self.assertEqual(len(made), 2)
        for reader in readers:
            self.assertEqual(self.names(reader), ["full", "changes", "changes"])

    def test_nothing_is_done_while_nobody_reads(self) -> None:
        self.call()
        self.pair.advance(0.5)
        readers = [self.reader(), self.reader()]
        self.pair.advance(1)
        for reader in readers:
            reader.close()
        for name in ("look", "changes", "full"):
            self.patch(self.board, name, lambda *_: self.fail("somebody looked"))
        self.pair.advance(5)
        self.assertIsNone(self.feed._armed)

    def test_readers_are_limited(self) -> None:
        readers = [self.reader(f"192.0.2.{number}") for number in range(MOST_READERS)]
        refused = self.reader("192.0.2.99")
        self.assertEqual(refused.response.status, 503)
        self.assertIn("close another page", refused.response.text)
        readers[0].close()
        self.assertEqual(self.names(self.reader()), ["full"])

    def test_head_reads_nothing(self) -> None:
        response = get(self.site, "/events", method="HEAD")
        self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(self.feed._readers, {})

    def test_stopped(self) -> None:
        reader = self.reader()
        self.feed.stop()
        self.pair.advance(3)
        self.assertEqual(self.names(reader), ["full"])


class CollectorTests(FeedTestCase):
    def test_nothing_is_left_for_the_garbage_collector(self) -> None:
        """The daemon's collector does not run while calls are up."""

        def read() -> None:
            reader = self.reader()
            self.pair.advance(1.5)
            reader.close()

        read()
        while gc.collect():
            pass
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            read()
            gc.collect()
            left = sorted({type(each).__qualname__ for each in gc.garbage})
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        self.assertEqual(left, [])


class SlowReaderTests(FeedTestCase):
    """The transport pauses a reader that takes nothing."""

    def test_it_is_skipped_and_then_gets_everything(self) -> None:
        slow, other = self.reader(), self.reader()
        self.events(slow)
        slow.channel.pauseProducing()
        self.call()
        self.pair.advance(3.05)
        self.assertEqual(self.events(slow), [], "nothing piles up")
        self.assertEqual(self.names(other), ["full", *["changes"] * 3])
        slow.channel.resumeProducing()
        self.pair.advance(2)
        (name, full), (next_name, _) = self.events(slow)
        self.assertEqual((name, len(full["calls"]), next_name), ("full", 1, "changes"))
        self.assertEqual(self.names(other), ["changes"] * 2)

    def test_it_is_dropped(self) -> None:
        slow, other = self.reader(), self.reader()
        slow.channel.pauseProducing()
        self.pair.advance(PATIENCE / SECOND - 1)
        self.assertFalse(slow.transport.aborted)
        self.pair.advance(3)
        self.assertTrue(slow.transport.aborted)
        slow.close()
        self.assertFalse(other.transport.aborted)
        self.assertEqual(len(self.feed._readers), 1)

    def test_it_holds_one_snapshot_at_most(self) -> None:
        slow = self.reader()
        slow.channel.pauseProducing()
        held = len(slow.transport.value())
        for _ in range(5):
            self.call()
            self.pair.advance(2)
        self.assertEqual(len(slow.transport.value()), held)


class SnapshotPageTests(FeedTestCase):
    def test_it_is_made_once_a_second(self) -> None:
        self.call()
        self.pair.advance(2)
        first = get(self.site, "/now")
        self.assertEqual(first.header("Content-Type"), "application/json")
        (call,) = json.loads(first.body)["calls"]
        self.assertEqual(round(call["received"][0]), 50)
        self.pair.advance(0.5)
        self.assertEqual(get(self.site, "/now").body, first.body)
        self.pair.advance(0.6)
        second = json.loads(get(self.site, "/now").body)
        self.assertEqual(len(second["calls"][0]["series"]), 2)


class MessagePageTests(FeedTestCase):
    def test_a_message(self) -> None:
        self.call()
        self.pair.advance(1)
        session = self.pair.legs[0].session
        response = get(self.site, f"/message?session={session}&number=0")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.header("Content-Type"), "text/plain; charset=utf-8")
        self.assertTrue(response.text.startswith("INVITE sip:callee@"))

    def test_what_there_is_not(self) -> None:
        self.call()
        self.pair.advance(1)
        session = self.pair.legs[0].session
        for query in (
            *("", "?session=", f"?session={session}", f"?session={session}&number=99"),
            *(f"?session={session}&number=-1", f"?session={session}&number=1_0"),
            *(f"?session={session}&number=%D9%A1", f"?session={session}&number={'9' * 5000}"),
            "?session=%ff&number=0",
        ):
            response = get(self.site, f"/message{query}")
            self.assertEqual(response.status, 404, query)


class ModuleTests(SynchronousTestCase):
    def test_an_event_is_one_line_of_data(self) -> None:
        self.assertEqual(module._event("full", "{}"), b"event: full\ndata: {}\n\n")
