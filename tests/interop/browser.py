"""A headless Chromium, driven by the WebDriver protocol of the W3C over plain HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--force-color-profile=srgb", "--hide-scrollbars"),
)
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE: Final = 60.0


class Browser:
    """One session of Chromium with an empty profile; `close` ends both programs."""

    def __init__(self, driver: str, chromium: str, *, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.mkdtemp(prefix="sessioncore-browser-")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self._driver = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._url = f"http://127.0.0.1:{port}"
        try:
            self._wait_for_driver()
            options = {
                "binary": chromium,
                "args": [
                    *FLAGS,
                    f"--user-data-dir={self._profile}",
                    f"--window-size={width},{height}",
                ],
            }
            wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                      "goog:loggingPrefs": {"browser": "ALL"}}  # fmt: skip
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._url += f"/session/{made['sessionId']}"
        except BaseException:
            self._end_driver()
            raise

    def _wait_for_driver(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if self._ask("GET", "/status")["ready"]:
                    return
            except OSError:
                if time.monotonic() > until or self._driver.poll() is not None:
                    raise
            time.sleep(0.05)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode("ascii")
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            said = json.load(error)["value"]
            raise AssertionError(f"{path}: {said['error']}: {said['message']}") from None

    def open(self, url: str) -> None:
        """Load a page."""
        self._ask("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """The address of the page."""
        return str(self._ask("GET", "/url"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns; ``arguments`` are its ``arguments``."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def texts(self, selector: str) -> list[str]:
        """The visible text of all elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        found: list[str] = self.run(script, selector)
        return found

    def drawn(self, selector: str) -> list[str]:
        """The text of all elements, those of drawings included."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        found: list[str] = self.run(script, selector)
        return found

    def click(self, selector: str) -> None:
        """Click an element as a person does."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{found[_ELEMENT]}/click", {})

    def console(self) -> list[str]:
        """What the page wrote to the console since the last call; violations of its policy too."""
        return [each["message"] for each in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """Write the page, all of it, to a PNG file."""
        width, height = self.run(
            "const page = document.documentElement; return [page.clientWidth, page.scrollHeight]"
        )
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        wanted = {"captureBeyondViewport": True, "clip": clip}
        made = self.command("Page.captureScreenshot", wanted)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def close(self) -> None:
        """End the browser, its driver, and what they left."""
        try:
            self._ask("DELETE", "")
        finally:
            self._end_driver()

    def _end_driver(self) -> None:
        self._driver.terminate()
        self._driver.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
