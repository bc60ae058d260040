"""Who may read: Host, Origin and token."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.gate import Gate, read_token
from sessioncore.dashboard.site import Text, WebSite
from sessioncore.errors import ConfigurationError
from tests.dashboard.web import Connection, Response, get

TOKEN = "0123456789abcdef"
SECRET = "who calls whom"


class GateTests(SynchronousTestCase):
    def site(self, token: str | None = TOKEN) -> WebSite:
        pages = {"/": Text(200, SECRET)}
        return WebSite(Clock(), Gate(token), pages, {"/healthz": Text(200, "ok")})

    def refused(self, response: Response, status: int = 403) -> str:
        self.assertEqual(response.status, status, response.text)
        self.assertNotIn(SECRET, response.text)
        self.assertNotIn(TOKEN, response.text)
        self.assertNotIn("set-cookie", response.headers)
        return response.text

    # --- Host and Origin

    def test_names_that_a_rebinding_site_can_have_are_refused(self) -> None:
        site = self.site(None)
        for host in ("127.0.0.1:8080", "localhost", "localhost:8080", "[::1]:8080", "192.0.2.9"):
            self.assertEqual(get(site, "/", host=host).status, 200, host)
        for host in (
            *(
                "evil.example",
                "evil.example:8080",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
            ),
            *("", "a b", "127.0.0.1:x", "localhost:0", "[::1", "user@localhost"),
        ):
            self.assertIn("use its IP address", self.refused(get(site, "/", host=host)), host)

    def test_one_host(self) -> None:
        for fields in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
            connection = Connection(self.site(None))
            connection.send(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
            self.refused(connection.response)

    def test_with_a_token_the_name_is_free(self) -> None:
        response = get(
            self.site(), "/", host="voip.example", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        self.assertEqual(response.status, 200)

    def test_the_origin_must_be_the_same(self) -> None:
        for token in (None, TOKEN):
            site = self.site(token)
            for origin, status in {
                "http://127.0.0.1:8080": 200,
                "https://127.0.0.1:8080": 200,
                "http://127.0.0.1:9090": 403,
                "http://evil.example": 403,
                "null": 403,
            }.items():
                headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
                response = get(site, "/", headers=headers)
                self.assertEqual(response.status, status, origin)

    # --- the token

    def test_without_a_token(self) -> None:
        self.assertIn("a token is needed", self.refused(get(self.site(), "/")))

    def test_wrong_tokens(self) -> None:
        site = self.site()
        for path in (
            *("/?token=", "/?token=0123456789abcdee", "/?token=0123456789abcdef0", "/?token=%ff"),
            *(f"/?token={TOKEN}&token={TOKEN}", "/?Token=0123456789abcdef"),
        ):
            self.refused(get(site, path))
        for text in ("Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} {TOKEN}"):
            self.refused(get(site, "/", headers={"Authorization": text}))
        for cookie in ("sessioncore-8080=", f"sessioncore-8080={TOKEN}", f"token={TOKEN}"):
            self.refused(get(site, "/", headers={"Cookie": cookie}))

    def test_what_is_there_is_not_told_either(self) -> None:
        text = self.refused(get(self.site(), "/"))
        self.assertEqual(self.refused(get(self.site(), "/no/such/page")), text)

    def test_the_header_field(self) -> None:
        for text in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
            response = get(self.site(), "/", headers={"Authorization": text})
            self.assertEqual(response.text, SECRET + "\n")
            self.assertNotIn("set-cookie", response.headers)

    def test_the_query_is_exchanged_for_a_cookie(self) -> None:
        site = self.site()
        response = get(site, f"/?token={TOKEN}")
        self.assertEqual(response.text, SECRET + "\n")
        cookie, *attributes = response.header("Set-Cookie").split("; ")
        self.assertNotIn(TOKEN, cookie)
        self.assertEqual(
            {each.lower() for each in attributes}, {"path=/", "httponly", "samesite=strict"}
        )
        self.assertEqual(get(site, "/", headers={"Cookie": cookie}).text, SECRET + "\n")
        # The cookie of one process, or of another port, opens no other.
        self.refused(get(self.site(), "/", headers={"Cookie": cookie}))
        other = cookie.replace("sessioncore-8080", "sessioncore-8081")
        self.refused(get(site, "/", headers={"Cookie": other}))

    def test_probes_have_no_token(self) -> None:
        self.assertEqual(get(self.site(), "/healthz").text, "ok\n")
        self.refused(get(self.site(None), "/healthz", host="evil.example"))


class TokenFileTests(SynchronousTestCase):
    def read(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return read_token("--web-token", str(path))

    def test_the_first_line_is_the_token(self) -> None:
        self.assertEqual(self.read(b"0123456789abcdef\n"), TOKEN)
        self.assertEqual(self.read(b"  0123456789abcdef  \r\nmore\n"), TOKEN)

    def test_what_is_no_token(self) -> None:
        for content in (
            b"",
            b"\n0123456789abcdef",
            b"too short",
            b"with blanks in it here",
            b"x" * 257,
        ):
            with self.assertRaisesRegex(ConfigurationError, "--web-token: the first line of .* is"):
                self.read(content)
        with self.assertRaisesRegex(ConfigurationError, "cannot be read: it is not ASCII"):
            self.read(b"\xff" * 20)
        with self.assertRaisesRegex(ConfigurationError, "cannot be read: No such file"):
            read_token("--web-token", "missing")
