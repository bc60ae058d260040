"""The page: its files are complete, small, of this package alone, and without inline code."""

from __future__ import annotations

import re

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sessioncore.dashboard.gate import Gate
from sessioncore.dashboard.pages import ASSETS, assets
from sessioncore.dashboard.site import WebSite
from tests.dashboard.web import get


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = WebSite(Clock(), Gate(None), assets(), {})

    def text(self, path: str) -> str:
        return get(self.site, path).text

    def test_all_files_are_served_with_their_types(self) -> None:
        for path, (_name, kind) in ASSETS.items():
            response = get(self.site, path)
            self.assertEqual((response.status, response.header("Content-Type")), (200, kind))
            self.assertGreater(len(response.body), 100)

    def test_what_the_page_needs_is_here(self) -> None:
        page = self.text("/")
        for name in re.findall(r'(?:src|href)="([^"]+)"', page):
            self.assertIn(f"/{name}", ASSETS)
        for path in ASSETS:
            self.assertNotRegex(
                self.text(path).replace("http://www.w3.org/2000/svg", ""), "https?:"
            )

    def test_nothing_is_inline(self) -> None:
        page = self.text("/")
        self.assertNotRegex(page, r"<style|\sstyle=|\son\w+=|javascript:")
        self.assertEqual(re.findall(r"<script[^>]*>([^<]*)</script>", page), [""])

    def test_the_script_makes_no_markup(self) -> None:
        script = self.text("/dashboard.js")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                     "Function(", "DOMParser", "srcdoc", "setAttribute(\"style"):  # fmt: skip
            self.assertNotIn(word, script)
        self.assertIn("textContent", script)

    def test_the_parts_that_the_script_asks_for_are_in_the_page(self) -> None:
        script, page = self.text("/dashboard.js"), self.text("/")
        for name in re.findall(r'(?:byId|clone)\("([\w-]+)"\)', script):
            self.assertIn(f'id="{name}"', page)

    def test_it_is_small(self) -> None:
        self.assertLess(sum(len(self.text(path)) for path in ASSETS), 60_000)
