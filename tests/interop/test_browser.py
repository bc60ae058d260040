"""The dashboard in a real browser: a call appears, grows, turns red, and names stay text."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

from tests.interop.browser import Browser
from tests.interop.peers import HOST, PeerTestCase, require
from tests.split.caller import SDP, Caller
from tests.split.processes import ROOT, port_of

SHOTS = ROOT / "build" / "screenshots"
"""Where the pictures go; not a part of the repository."""
NAME = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
TOKEN = "0123456789abcdef0123"


class NamedCaller(Caller):
    """Calls under a name that is markup."""

    def text(self, *given: Any, **named: Any) -> str:
        whole = super().text(*given, **named)
        return whole.replace("From: <sip:caller", f'From: "{NAME}" <sip:mallory')


class DashboardTests(PeerTestCase):
    """One browser for all of it: starting one takes seconds."""

    def setUp(self) -> None:
        super().setUp()
        driver = require("chromedriver", "chromium-driver")
        chromium = require("chromium", "chromium")
        (self.folder / "token").write_text(TOKEN + "\n")
        self.server = self.command(
            *("answer", f"--listen=udp:0:interface={HOST}", "--answer=tone:1000"),
            *("--dashboard=tcp:0", "--web-token=token", "--log=quiet"),
        )
        line = self.server.line("dashboard on http")
        self.url = line.rpartition(" ")[2]
        self.port = port_of(self.server.line(f"UAS on {HOST}:"))
        self.browser = Browser(driver, chromium)
        self.addCleanup(self.browser.close)

    def eventually(self, what: str, selector: str, holds: Callable[[list[str]], object]) -> None:
        self.until(what, lambda: holds(self.browser.drawn(selector)))

    def shot(self, name: str) -> None:
        path = SHOTS / f"{name}.png"
        self.browser.screenshot(path)
        print(f"screenshot: {path}")

    def call_from_us(self) -> None:
        """A good call, from another process."""
        self.command(
            *("call", f"sip:bob@{HOST}:{self.port}", f"--listen=udp:0:interface={HOST}"),
            *("--play=tone:440", "--duration=60", "--from=sip:alice@example.org"),
        )

    def call_without_audio(self) -> NamedCaller:
        """Its INVITE and its ACK, and nothing else: no RTP ever comes, and none is answered."""
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(rtp.close)
        rtp.bind((HOST, 0))
        caller = NamedCaller(self, self.port, 1)
        caller.send("INVITE", body=SDP.format(rtp=rtp.getsockname()[1]))
        caller.receive("SIP/2.0 200")
        caller.send("ACK", branch="ack")
        return caller

    def check_the_terminal(self) -> None:
        """The same calls by the commands, each in a process of its own."""
        top = self.command("top", self.url, "--once", "--web-token=token")
        self.assertEqual(top.wait(), 0, top.output)
        self.assertNotIn("\x1b", top.output)
        for part in ("calls 2 of 2000", "no rx", "two way", NAME, "=> Look for a firewall"):
            self.assertIn(part, top.output)
        ladder = self.command("ladder", self.url, "shutdown-1", "--web-token=token")
        self.assertEqual(ladder.wait(), 0, ladder.output)
        self.assertRegex(ladder.output, r"\|<-+ INVITE \+SDP -+\|")
        self.assertIn("! verdict: no rx", ladder.output)
        without = self.command("top", self.url)
        self.assertEqual(without.wait(), 2, without.output)
        self.assertIn("a token is needed", without.output)
        self.assertNotIn("alice", without.output)

    def test_what_people_see(self) -> None:
        browser = self.browser
        # Without the token there is nothing to see.
        browser.open(self.url)
        self.assertIn("a token is needed", "".join(browser.texts("body")))
        browser.open(f"{self.url}?token={TOKEN}")
        self.eventually("the page", "#link-text", lambda texts: texts == ["live"])
        self.assertEqual(browser.url, self.url, "the token stays in the address")
        self.assertEqual(browser.run("return document.cookie"), "", "scripts can read the cookie")

        self.call_from_us()
        card = ".call[data-state=good]"
        self.eventually("a good call", card, lambda found: len(found) == 1)
        steps = browser.drawn(f"{card} .ladder .step")
        for part in ("INVITE +SDP", "200 OK +SDP", "ACK", "media active", "verdict: two way"):
            self.assertTrue(any(part in step for step in steps), f"{part} in {steps}")
        self.eventually("levels", f"{card} .plot .value", lambda found: "-13 dB" in found)

        caller = self.call_without_audio()
        fault = ".call[data-state=fault]"
        self.eventually("the second call", ".call", lambda found: len(found) == 2)
        grown = len(browser.drawn(".call .ladder .step"))
        self.eventually("the fault", f"{fault} .pill", lambda found: found == ["no rx"])
        self.assertGreater(len(browser.drawn(".call .ladder .step")), grown, "its ladder grows")
        (remedy,) = browser.texts(f"{fault} .remedy")
        self.assertIn("firewall", remedy)
        colour = browser.run(
            f"return getComputedStyle(document.querySelector('{fault}')).borderLeftColor"
        )
        red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
        self.assertTrue(red > 150 > 100 > max(green, blue), colour)

        # What the caller calls itself is text, and nothing of it ran or was loaded.
        self.assertEqual(browser.texts(f"{fault} .from .name"), [NAME])
        self.assertEqual(
            browser.run("return document.querySelectorAll('script, .call img').length"), 1
        )
        self.assertNotEqual(browser.run("return document.title"), "owned")

        browser.click(f"{fault} .ladder .step[role=button]")
        self.eventually("the message", "#message-text", lambda found: NAME in found[0])
        self.assertTrue(browser.drawn("#message-text")[0].startswith("INVITE sip:callee@"))
        browser.click("#message button")
        self.shot("dashboard")

        self.check_the_terminal()
        caller.send("BYE", number=2, branch="bye")
        caller.receive("SIP/2.0 200")
        self.eventually("the end", "#over .call", lambda found: len(found) == 1)
        # The token was refused once, loudly; beside that no policy was violated.
        self.assertEqual([each for each in browser.console() if "403" not in each], [])
        self.assertNotIn("Traceback", self.server.output)
