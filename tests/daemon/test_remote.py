"""Reading a running server's dashboard: errors in one line, redrawing, and its token."""

from __future__ import annotations

import io
import json
from email.message import Message
from typing import Any
from urllib.error import HTTPError, URLError

from twisted.trial.unittest import SynchronousTestCase

from sessioncore.daemon.remote import RemoteDashboard, _NoRedirects, watch
from sessioncore.errors import ConfigurationError
from tests.watching.test_top import call, snapshot

LADDER = {
    "own": "192.0.2.2:5060", "peers": ["192.0.2.1:5060"], "left_out": 0,
    "steps": [
        [0, "received", "INVITE +SDP", 0, 2, True], [900, "good", "media active", 0, 1, False],
    ],
}  # fmt: skip


class Opener:
    """Answers with one thing after the other; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []

    def open(self, request: Any, timeout: float) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def failed(status: int) -> HTTPError:
    return HTTPError("http://h/now", status, "no", Message(), io.BytesIO(b"secret"))


class SnapshotTests(SynchronousTestCase):
    def read(self, answer: Any, token: str | None = None) -> tuple[Any, Opener]:
        opener: Any = Opener(answer)
        return RemoteDashboard("127.0.0.1:8080", token, opener).snapshot(), opener

    def test_a_snapshot(self) -> None:
        read, opener = self.read(snapshot(call()))
        self.assertEqual(read["calls"][0]["call_id"], "c")
        (request,) = opener.requests
        self.assertEqual(request.full_url, "http://127.0.0.1:8080/now")
        self.assertIsNone(request.get_header("Authorization"))

    def test_the_token(self) -> None:
        _, opener = self.read(snapshot(), "t0ken")
        self.assertEqual(opener.requests[0].get_header("Authorization"), "Bearer t0ken")

    def test_errors_are_one_line(self) -> None:
        for answer, says in (
            (failed(403), "a token is needed, or this one is wrong"),
            (failed(404), "http://127.0.0.1:8080/ answers 404"),
            (failed(302), "answers 302"),
            (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
            (TimeoutError("timed out"), "timed out"),
            (OSError(5, "bad\x1b[2J"), "bad"),
            (b"<html>", "is not a dashboard of sessioncore"),
            (b"[]", "is not a dashboard"),
            (b"7", "is not a dashboard"),
            (b"\xff", "is not a dashboard"),
            ({"calls": []}, "is not a dashboard"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                self.read(answer)
            message = str(caught.exception)
            self.assertIn(says, message)
            self.assertTrue(message.isprintable(), message)
            self.assertNotIn("secret", message)

    def test_urls(self) -> None:
        for url, base in {
            "http://127.0.0.1:8080": "http://127.0.0.1:8080/",
            "https://voip.example/calls/": "https://voip.example/calls/",
            "voip.example": "http://voip.example/",
            "[::1]:8080": "http://[::1]:8080/",
        }.items():
            self.assertEqual(RemoteDashboard(url).url, base)
        for url in (
            *("", "ftp://h/", "file:///etc/passwd", "http://", "http://h:x/", "http://h/?token=a"),
            *("http://h/\n", "http://\u0661/", "not a url", "http://[::1", "h:999999"),
        ):
            with self.assertRaisesRegex(ConfigurationError, "is not the URL of a dashboard"):
                RemoteDashboard(url)

    def test_redirects_are_not_followed(self) -> None:
        """The token would go with them."""
        self.assertIsNone(_NoRedirects().redirect_request(None, None, 302, "", {}, "http://evil/"))


class LadderTests(SynchronousTestCase):
    def ladders(self, wanted: str = "") -> str:
        calls = [call(call_id=name, session=name[0], ladder=LADDER) for name in ("abc@h", "xyz@h")]
        opener: Any = Opener(snapshot(*calls))
        return RemoteDashboard("h", None, opener).ladders(wanted)

    def test_a_ladder(self) -> None:
        self.assertEqual(
            self.ladders("abc").splitlines(),
            [
                "sip:alice@a.example -> sip:bob@b.example, Call-ID: abc@h, good",
                "      ms  192.0.2.2:5060                     192.0.2.1:5060",
                "       0  |<-------------- INVITE +SDP x2 --------------|",
                "     900  + media active",
            ],
        )

    def test_which(self) -> None:
        self.assertEqual(self.ladders().count("Call-ID:"), 2)
        self.assertIn("xyz@h", self.ladders("x"))
        with self.assertRaisesRegex(ConfigurationError, "shows no call with 'q' in its Call-ID"):
            self.ladders("q")


class WatchTests(SynchronousTestCase):
    def watch(self, *answers: Any, turns: int = 3, once: bool = False) -> str:
        out = io.StringIO()
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == turns:
                raise KeyboardInterrupt

        opener: Any = Opener(*answers)
        watch(RemoteDashboard("h", None, opener), out, lambda: (80, 24), once=once, sleep=sleep)
        self.assertEqual(slept, [] if once else [1.0] * turns)
        return out.getvalue()

    def test_once(self) -> None:
        text = self.watch(snapshot(call()), once=True)
        self.assertNotIn("\x1b", text)
        self.assertIn("sip:alice@a.example", text)

    def test_again_every_second_until_interrupted(self) -> None:
        text = self.watch(snapshot(call()))
        self.assertEqual(text.count("\x1b[H"), 3)
        self.assertTrue(text.startswith("\x1b[?25l") and text.endswith("\x1b[?25h"))

    def test_a_server_that_goes_away_and_comes_back(self) -> None:
        text = self.watch(snapshot(), failed(500), snapshot(call()))
        first, second, third = text.split("\x1b[H")[1:]
        self.assertNotIn("trying again", first)
        self.assertIn("h/ answers 500; trying again", second)
        self.assertIn("sip:alice@a.example", third)

    def test_a_server_that_is_not_there(self) -> None:
        with self.assertRaises(ConfigurationError):
            self.watch(failed(500))
