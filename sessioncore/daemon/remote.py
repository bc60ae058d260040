"""Reads the dashboard of a running server, for ``sessioncore top`` and ``sessioncore ladder``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from sessioncore.errors import ConfigurationError
from sessioncore.vocabulary import MILLISECOND
from sessioncore.watching.event_log import shown
from sessioncore.watching.ladder import Kind, Step, ladder_text
from sessioncore.watching.top import top_text

__all__ = ["DEFAULT", "RemoteDashboard", "watch"]

DEFAULT: Final = "http://127.0.0.1:8080/"
PATIENCE: Final = 5.0
LONGEST: Final = 16 << 20
"""Bytes of a snapshot; what is longer is not one."""
_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?/?").fullmatch
_HOME, _REST, _LINE, _SHOW, _HIDE = "\x1b[H", "\x1b[J", "\x1b[K", "\x1b[?25h", "\x1b[?25l"
"""Control functions of ECMA-48: cursor home, erase below, erase to the right; the cursor's own."""


class _NoRedirects(HTTPRedirectHandler):
    """A dashboard never redirects, and its token is for no other server."""

    def redirect_request(self, *_given: Any) -> None:
        """Follow none: it counts as an error then."""


class RemoteDashboard:
    """The dashboard at ``url``; raises `ConfigurationError` if that is not the URL of one."""

    def __init__(
        self, url: str, token: str | None = None, opener: OpenerDirector | None = None
    ) -> None:
        self.url: Final = _base(url)
        self._token = token
        # Proxies are for the world outside.
        self._opener = opener or build_opener(ProxyHandler({}), _NoRedirects)

    def snapshot(self) -> dict[str, Any]:
        """Everything it shows; raises `ConfigurationError` if it cannot be read."""
        data = self._read()
        try:
            read = json.loads(data)
            if not {"t", "calls", "health", "more", "server"} <= set(read):
                raise ValueError
        except (ValueError, TypeError):
            raise ConfigurationError(
                f"{self.url} is not a dashboard of sessioncore; give the URL that `sessioncore"
                " answer --dashboard` prints"
            ) from None
        return dict(read)

    def ladders(self, wanted: str = "") -> str:
        """The ladders of the calls whose Call-ID or session contains ``wanted``, as text."""
        calls = [
            call
            for call in self.snapshot()["calls"]
            if wanted in call["call_id"] or wanted == call["session"]
        ]
        if not calls:
            which = f" with {wanted!r} in its Call-ID" if wanted else ""
            raise ConfigurationError(
                f"{self.url} shows no call{which}; `sessioncore top {self.url} --once` lists them"
            )
        return "\n".join([_ladder(call) for call in calls])

    def _read(self) -> bytes:
        request = Request(f"{self.url}now")
        if self._token is not None:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=PATIENCE) as response:
                return bytes(response.read(LONGEST))
        except HTTPError as error:
            if error.code == 403:
                raise ConfigurationError(
                    f"{self.url} answers 403: a token is needed, or this one is wrong; name the"
                    " file that holds it with --web-token"
                ) from None
            raise ConfigurationError(f"{self.url} answers {error.code}") from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or str(reason)
            raise ConfigurationError(
                f"{self.url} cannot be read: {shown(why)}; does a server run there with"
                " --dashboard?"
            ) from None


def _ladder(call: dict[str, Any]) -> str:
    drawn = call["ladder"]
    steps = [
        Step(round(at * MILLISECOND), Kind(kind), shown(text), peer, times=times)
        for at, kind, text, peer, times, _kept in drawn["steps"]
    ]
    parties = f"{shown(call['from']['uri'])} -> {shown(call['to']['uri'])}"
    heading = f"{parties}, Call-ID: {shown(call['call_id'])}, {shown(call['state'])}\n"
    return heading + ladder_text(drawn["own"], drawn["peers"], steps, drawn["left_out"])


def _base(url: str) -> str:
    """``url`` with a scheme, and a slash at its end."""
    if _HOST_PORT(url):
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        good = None
    if not good or not url.isascii() or not url.isprintable():
        raise ConfigurationError(f"{url!r} is not the URL of a dashboard; write e.g. {DEFAULT}")
    return url if url.endswith("/") else f"{url}/"


def watch(
    dashboard: RemoteDashboard,
    out: IO[str],
    size: Callable[[], tuple[int, int]],
    *,
    once: bool,
    colours: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Draw the calls on ``out`` once, or again every second until Ctrl-C.

    ``size`` returns the columns and lines of the terminal.  Raises `ConfigurationError` if the
    dashboard cannot be read at first; after that it says so and tries again.
    """
    text = _drawn(dashboard, size, colours)
    if once:
        out.write(text)
        out.flush()
        return
    try:
        out.write(_HIDE)
        while True:
            # Over the former picture, line by line: erasing all of it first would flicker.
            out.write(_HOME + text.replace("\n", f"{_LINE}\n") + _REST)
            out.flush()
            sleep(1.0)
            try:
                text = _drawn(dashboard, size, colours)
            except ConfigurationError as error:
                text = f"{error}; trying again\n"
    except KeyboardInterrupt:
        pass
    finally:
        out.write(_SHOW)
        out.flush()


def _drawn(dashboard: RemoteDashboard, size: Callable[[], tuple[int, int]], colours: bool) -> str:
    width, height = size()
    return top_text(dashboard.snapshot(), width, height - 1, colours=colours)
