"""The HTTP server: fixed pages, its header fields, and what clients cannot do to it."""

from __future__ import annotations

import gc
import re
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.site import (
    HEADERS,
    MOST_CONNECTIONS,
    MOST_FROM_ONE,
    PATIENCE,
    Text,
    WebSite,
)
from tests.dashboard.web import Connection, get


class SiteTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        pages = {"/": Text(200, "the page"), "/large": Text(200, "x" * 100_000)}
        self.site = WebSite(self.clock, Gate(None), pages, {})
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def connection(self, peer: str = "192.0.2.77") -> Connection:
        return Connection(self.site, peer)


class PageTests(SiteTestCase):
    def test_a_page(self) -> None:
        response = get(self.site, "/")
        self.assertEqual((response.status, response.body), (200, b"the page\n"))
        for name, value in HEADERS.items():
            self.assertEqual(response.header(name), value)

    def test_every_response_has_the_header_fields(self) -> None:
        for path, given in (("/none", {}), ("/", {"method": "POST"}), ("/", {"host": "x.example"})):
            response = get(self.site, path, **given)
            self.assertNotEqual(response.status, 200)
            for name, value in HEADERS.items():
                self.assertEqual(response.header(name), value)

    def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(self) -> None:
        policy = HEADERS["Content-Security-Policy"]
        for part in (
            *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
            *("img-src 'self'", "frame-ancestors 'none'"),
        ):
            self.assertIn(part, re.split("; ?", policy))
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("*", policy)

    def test_other_paths(self) -> None:
        for path in (
            *("/..", "/../setup.py", "/%2e%2e/setup.py", "/..%2fsetup.py", "//", "//etc/passwd"),
            *(
                "/.",
                "/%00",
                "/large/",
                "/large/../",
                "*",
                "http://evil.example/large",
                "/" + "a" * 9000,
            ),
        ):
            response = get(self.site, path)
            self.assertIn(response.status, (400, 404, 405), path)
            self.assertNotIn(b"the page", response.body, path)

    def test_other_methods(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"):
            response = get(self.site, "/", method=method)
            self.assertEqual((response.status, response.header("Allow")), (405, "GET, HEAD"))
        head = get(self.site, "/", method="HEAD")
        self.assertEqual((head.status, head.body), (200, b""))

    def test_one_request_per_connection(self) -> None:
        """Otherwise a client could queue responses that it does not take."""
        connection = self.connection()
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        data = connection.transport.value()
        self.assertEqual(data.count(b"HTTP/1.1"), 1)
        self.assertTrue(connection.transport.disconnecting)


class LimitTests(SiteTestCase):
    def test_no_body_is_taken(self) -> None:
        for field in (
            b"Content-Length: 1",
            b"Content-Length: 99999999999",
            b"Transfer-Encoding: chunked",
        ):
            connection = self.connection()
            head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n"
            connection.send(head + b"1\r\nx\r\n0\r\n\r\n")
            self.assertTrue(connection.transport.value().startswith(b"HTTP/1.1 413 "), field)
            self.assertNotIn(b"the page", connection.transport.value())
            self.assertTrue(connection.transport.disconnecting)

    def test_no_body_is_asked_for(self) -> None:
        connection = self.connection()
        fields = b"Host: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n"
        connection.send(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
        self.assertEqual(connection.transport.value().count(b"HTTP/1.1"), 1)

    def test_large_requests(self) -> None:
        for data in (
            b"GET /" + b"a" * 70_000,
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 101 + b"\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET / HTTP/9.9 what\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        ):
            connection = self.connection()
            connection.send(data)
            self.assertTrue(connection.transport.disconnecting, data[:60])
            self.assertNotIn(b"the page", connection.transport.value())

    def test_a_request_that_trickles_in(self) -> None:
        connection = self.connection()
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ":
            connection.send(bytes([byte]))
            self.clock.advance(PATIENCE / 80)
        self.assertFalse(connection.transport.aborted)
        for _ in range(40):
            connection.send(b"a")
            self.clock.advance(PATIENCE / 80)
        self.assertTrue(connection.transport.aborted)

    def test_a_connection_that_says_nothing(self) -> None:
        connection = self.connection()
        self.clock.advance(PATIENCE + 0.1)
        self.assertTrue(connection.transport.aborted)

    def test_a_response_that_is_not_taken(self) -> None:
        connection = self.connection()
        connection.ask("/large")
        self.clock.advance(PATIENCE - 0.1)
        self.assertFalse(connection.transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(connection.transport.aborted)

    def test_nothing_waits_once_it_is_closed(self) -> None:
        for ask in (lambda connection: None, lambda connection: connection.ask("/")):
            connection = self.connection()
            ask(connection)
            connection.close()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections_from_one_address(self) -> None:
        held = [self.connection("192.0.2.7") for _ in range(MOST_FROM_ONE)]
        self.assertTrue(self.connection("192.0.2.7").refused)
        self.assertFalse(self.connection("192.0.2.8").refused)
        held[0].close()
        self.assertFalse(self.connection("192.0.2.7").refused)

    def test_connections_in_all(self) -> None:
        held = [self.connection(f"192.0.2.{number}") for number in range(MOST_CONNECTIONS)]
        self.assertTrue(self.connection("198.51.100.1").refused)
        for each in held:
            each.close()
        self.assertEqual(len(self.site.connections), 0)
        self.assertFalse(self.connection("198.51.100.1").refused)

    def test_nothing_is_left_for_the_garbage_collector(self) -> None:
        """The daemon's collector does not run while calls are up."""

        def ask() -> None:
            get(self.site, "/")
            get(self.site, "/none")

        ask()
        while gc.collect():
            pass
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            ask()
            gc.collect()
            left: list[Any] = sorted({type(each).__qualname__ for each in gc.garbage})
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        self.assertEqual(left, [])
