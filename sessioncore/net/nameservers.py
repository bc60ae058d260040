"""Name lookup as on the system: the hosts file first, then the servers of resolv.conf."""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.names.client import Resolver
from twisted.names.dns import PORT, DomainError
from twisted.names.hosts import Resolver as HostsFile
from twisted.python.failure import Failure

from sessioncore.net.addresses import is_literal

__all__ = ["NameServers", "servers_in"]

_SECONDS: Final = (1, 2)
"""Seconds to wait for each server, in the first and in the second round."""


def servers_in(resolv_conf: str) -> list[tuple[str, int]]:
    """The ``nameserver`` lines of a resolv.conf(5) text; this host if there are none."""
    found = []
    for line in resolv_conf.split("\n"):
        words = line.split("#")[0].split(";")[0].split()
        if len(words) >= 2 and words[0] == "nameserver" and is_literal(words[1]):
            found.append((words[1], PORT))
    return found or [("127.0.0.1", PORT)]


class NameServers:
    """An `IResolver` for the lookups of SIP: SRV, A, AAAA.

    Twisted's own resolver chain polls resolv.conf with a timer and has an unlimited cache.
    This one checks the file for each lookup and caches nothing.
    """

    def __init__(
        self, reactor: Any, *, hosts: str = "/etc/hosts", resolv_conf: str = "/etc/resolv.conf"
    ) -> None:
        self._reactor = reactor
        self._hosts = HostsFile(os.fsencode(hosts))  # type: ignore[no-untyped-call]
        self._resolv_conf = resolv_conf
        self._read_at: tuple[int, int] | None = None
        self._servers: Any = None

    def lookupAddress(self, name: str) -> Deferred[Any]:
        """A records (`IResolver`)."""
        return self._hosts_first("lookupAddress", name)

    def lookupIPV6Address(self, name: str) -> Deferred[Any]:
        """AAAA records (`IResolver`)."""
        return self._hosts_first("lookupIPV6Address", name)

    def lookupService(self, name: str) -> Deferred[Any]:
        """SRV records (`IResolver`)."""
        found: Deferred[Any] = self._current().lookupService(name)
        return found

    def _hosts_first(self, method: str, name: str) -> Deferred[Any]:
        found: Deferred[Any] = getattr(self._hosts, method)(name)

        def ask_servers(failure: Failure) -> Any:
            # RFC 6761 6.3: a server is never asked for localhost.
            if not isinstance(failure.value, DomainError) or name == "localhost":
                return failure
            return getattr(self._current(), method)(name)

        return found.addErrback(ask_servers)

    def _current(self) -> Any:
        """The servers currently in resolv.conf."""
        try:
            status = os.stat(self._resolv_conf)
            read_at = (status.st_mtime_ns, status.st_ino)
        except OSError:
            read_at = (0, 0)
        if self._servers is None or read_at != self._read_at:
            self._read_at = read_at
            self._servers = Resolver(  # type: ignore[no-untyped-call]
                servers=servers_in(self._text()), timeout=_SECONDS, reactor=self._reactor
            )
        return self._servers

    def _text(self) -> str:
        try:
            with open(self._resolv_conf, encoding="utf-8", errors="replace") as opened:
                return opened.read(65536)
        except OSError:
            return ""
