"""Where HEP packets go, in the notation of the command line: ``udp:192.0.2.9:9060:id=7``."""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from sessioncore.errors import ConfigurationError
from sessioncore.net.addresses import is_literal, split_fields

__all__ = ["Collector", "parse_collector"]

_EXAMPLE: Final = "write for example udp:192.0.2.9:9060:id=7 or udp:homer.example.com"
_NUMBER: Final = re.compile(r"[0-9]{1,10}").fullmatch
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?").fullmatch
_MOST: Final = 0xFFFFFFFF


@frozen
class Collector:
    """A collector; ``agent`` is our number there, ``password`` its authenticate key."""

    host: str
    port: int = 9060
    agent: int = 1
    password: str = field(default="", repr=False)


def parse_collector(text: str) -> Collector:
    r"""Read ``udp:HOST[:PORT][:id=NUMBER][:password=TEXT]``; raises `ConfigurationError`.

    Colons in an IPv6 address or a password are written as ``\:``; ``[::1]`` works, too.
    """
    kind, *rest = split_fields(text.strip())
    if kind != "udp" or not rest:
        raise ConfigurationError(f"cannot send to {text!r}: {_EXAMPLE}")
    host = rest.pop(0).removeprefix("[").removesuffix("]")
    if not is_literal(host) and (not _NAME(host) or host.rpartition(".")[2].isdigit()):
        raise ConfigurationError(f"{host!r} is not an IP address or a name; {_EXAMPLE}")
    port = "9060" if not rest or "=" in rest[0] else rest.pop(0)
    if not _NUMBER(port) or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{port!r} is not a port; {_EXAMPLE}")
    given: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if name not in ("id", "password") or not equals or name in given:
            raise ConfigurationError(f"{name!r} is not understood; {_EXAMPLE}")
        given[name] = value
    agent = given.get("id", "1")
    if not _NUMBER(agent) or int(agent) > _MOST:
        raise ConfigurationError(f"id={agent} is not a number up to {_MOST}; {_EXAMPLE}")
    return Collector(host, int(port), int(agent), given.get("password", ""))
