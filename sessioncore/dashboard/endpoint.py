r"""Where to serve HTTP: an endpoint description of Twisted, on the loopback interface by default.

``tcp:8080`` means ``tcp:8080:interface=127.0.0.1`` here, because what is served shows who calls
whom.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from attrs import frozen
from twisted.internet.endpoints import serverFromString

from sessioncore.errors import ConfigurationError
from sessioncore.net.addresses import is_loopback, split_fields

__all__ = ["Endpoint", "WebPlan", "cannot_listen", "parse_endpoint"]

_EXAMPLE: Final = "write for example tcp:8080:interface=127.0.0.1"
_LOOPBACK: Final = {"tcp": "127.0.0.1", "ssl": "127.0.0.1", "tcp6": r"\:\:1"}
"""The interface that is meant if none is given, by the kind of endpoint."""


@frozen
class Endpoint:
    """A checked endpoint description; ``is_local`` if only this machine can reach it."""

    description: str
    is_local: bool

    def listening(self, reactor: Any, option: str) -> Any:
        """The server endpoint; raises `ConfigurationError` that begins with ``option``."""
        return _made(reactor, self.description, option)


@frozen
class WebPlan:
    """What to serve and where: ``option`` is its name in messages.

    ``shows_calls`` adds the page with the calls to metrics and probes.  ``token`` is what readers
    must show, or None on an endpoint that only this machine can reach; `ConfigurationError`.
    """

    option: str
    endpoint: Endpoint
    shows_calls: bool
    token: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.token is None and not self.endpoint.is_local:
            raise ConfigurationError(
                f"{self.option}: other machines can reach {self.endpoint.description}, so a token"
                " is needed; name a file that holds one with --web-token, or write"
                " interface=127.0.0.1"
            )


def parse_endpoint(option: str, text: str) -> Endpoint:
    """Read the value of ``option``; raises `ConfigurationError` that begins with its name."""
    kind, *fields = split_fields(text)
    if not fields:
        raise ConfigurationError(f"{option}: {text!r} is not an endpoint; {_EXAMPLE}")
    given = dict(each.partition("=")[::2] for each in fields if "=" in each)
    if kind == "unix":
        _made(None, text, option)
        return Endpoint(text, True)
    if kind not in _LOOPBACK:
        raise ConfigurationError(
            f"{option}: {text!r} is an endpoint of another kind than tcp, tcp6, ssl and unix;"
            f" {_EXAMPLE}"
        )
    if "interface" not in given:
        text += f":interface={_LOOPBACK[kind]}"
        given["interface"] = _LOOPBACK[kind].replace("\\", "")
    _check(option, text, given.get("port", fields[0]), given["interface"])
    _made(None, text, option)
    return Endpoint(text, is_loopback(given["interface"]))


def _check(option: str, text: str, port: str, interface: str) -> None:
    """Twisted reports neither a wrong port nor a wrong interface before it listens."""
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigurationError(f"{option}: {port!r} in {text!r} is not a port; {_EXAMPLE}")
    try:
        ip_address(interface)
    except ValueError:
        raise ConfigurationError(
            f"{option}: interface={interface} in {text!r} is not an IP address; {_EXAMPLE}"
        ) from None


def _made(reactor: Any, text: str, option: str) -> Any:
    try:
        return serverFromString(reactor, text)
    except ImportError:
        raise ConfigurationError(
            f'{option}: {text!r} needs TLS support; install it: pip install "twisted[tls]"'
        ) from None
    except (ValueError, TypeError, OSError, KeyError, IndexError) as error:
        raise ConfigurationError(
            f"{option}: {text!r} is not a usable endpoint: {error}; {_EXAMPLE}"
        ) from None


def cannot_listen(option: str, endpoint: Endpoint, error: object) -> ConfigurationError:
    """The error for an endpoint that could not be bound."""
    why = getattr(error, "socketError", error)  # of CannotListenError
    reason = getattr(why, "strerror", None) or str(why)
    return ConfigurationError(
        f"{option}: cannot listen on {endpoint.description}: {reason}; name a port that is free"
        " and an address of this machine"
    )
