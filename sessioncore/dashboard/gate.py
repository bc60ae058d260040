"""Who may read what is served: judged by Host, Origin and token of a request.

A page of another site that a browser shows can send requests here, by the browser, and by DNS
rebinding even as "the same site".  Such a request names the other site in its Host or Origin.
Where a token is needed it has none: the cookie belongs to the name in our own address.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from sessioncore.errors import ConfigurationError
from sessioncore.net.addresses import is_literal, parse_host_port

__all__ = ["Gate", "Refusal", "read_token"]

LEAST_TOKEN: Final = 16
"""Characters; 16 of 64 cannot be guessed in any time that a server runs."""
_TOKEN: Final = re.compile(rf"[!-~]{{{LEAST_TOKEN},256}}").fullmatch
_BEARER: Final = b"bearer "


@frozen
class Refusal:
    """The status that a request is answered with instead, and a line of text."""

    status: int
    text: str


def read_token(option: str, name: str) -> str:
    """The token in the first line of a file; raises `ConfigurationError`."""
    try:
        with Path(name).open(encoding="ascii") as file:
            token = file.readline(1024).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise ConfigurationError(
            f"{option}: {name} cannot be read: {reason}; name a file whose first line is the token"
        ) from None
    if not _TOKEN(token):
        raise ConfigurationError(
            f"{option}: the first line of {name} is not a token; write {LEAST_TOKEN} to 256"
            " characters without blanks, for example the output of: openssl rand -hex 16"
        )
    return token


class Gate:
    """Judges requests; without ``token`` whoever reaches the server may read.

    A browser gives the token once, as ``?token=``, and gets a cookie for it, which is valid
    as long as this object lives.
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else _digest(token.encode("ascii"))
        self._cookie = secrets.token_urlsafe(32).encode("ascii")

    def refusal(self, request: Any) -> Refusal | None:
        """Why ``request`` (`twisted.web.iweb.IRequest`) is not answered, or None."""
        return self.stranger(request) or self._without_token(request)

    def stranger(self, request: Any) -> Refusal | None:
        """Why the site that sends ``request`` may not, or None."""
        headers = request.requestHeaders
        hosts = headers.getRawHeaders(b"Host", ())
        host = hosts[0].decode("ascii", "replace") if len(hosts) == 1 else ""
        if not self._is_ours(host):
            return Refusal(
                403,
                "403: this server is not known by that name; use its IP address, or localhost",
            )
        for origin in headers.getRawHeaders(b"Origin", ()):
            if origin.decode("ascii", "replace") not in (f"http://{host}", f"https://{host}"):
                return Refusal(403, "403: a page of another site asks")
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether the browser can only have got ``host`` from one of our addresses."""
        try:
            name, _port = parse_host_port(host)
        except ConfigurationError:
            return False
        # Other names are safe with a token only; see above.
        return self._token is not None or is_literal(name) or name == "localhost"

    def _without_token(self, request: Any) -> Refusal | None:
        if self._token is None or self._has_cookie(request) or self._has_bearer(request):
            return None
        given = request.args.get(b"token", ())
        if len(given) == 1 and self._is_token(given[0]):
            self._give_cookie(request)
            return None
        return Refusal(
            403,
            "403: a token is needed: open this address once with ?token=TOKEN at its end, or send"
            " the header field Authorization: Bearer TOKEN",
        )

    def _is_token(self, given: bytes) -> bool:
        return self._token is not None and compare_digest(_digest(given), self._token)

    def _has_bearer(self, request: Any) -> bool:
        values = request.requestHeaders.getRawHeaders(b"Authorization", ())
        given = [each[len(_BEARER) :] for each in values if each[: len(_BEARER)].lower() == _BEARER]
        return len(given) == 1 and self._is_token(given[0].strip())

    def _has_cookie(self, request: Any) -> bool:
        given = request.getCookie(_cookie_name(request)) or b""
        return compare_digest(_digest(given), _digest(self._cookie))

    def _give_cookie(self, request: Any) -> None:
        request.addCookie(
            _cookie_name(request),
            self._cookie,
            path=b"/",
            httpOnly=True,
            sameSite=b"strict",
            secure=request.isSecure(),
        )


def _cookie_name(request: Any) -> bytes:
    # Cookies do not know ports: two servers of one machine would take each other's.
    return b"sessioncore-%d" % getattr(request.getHost(), "port", 0)


def _digest(text: bytes) -> bytes:
    # Of one length, whatever was given.
    return sha256(text).digest()
