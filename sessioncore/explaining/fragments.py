"""Puts fragments of IP datagrams together (RFC 791 section 3.2, RFC 8200 section 4.5)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

from attrs import define, field

from sessioncore.vocabulary import SECOND

__all__ = ["Fragments"]

MAX_WAITING: Final = 256
"""Datagrams that wait for fragments; then the oldest is given up."""
MAX_FRAGMENTS: Final = 64
"""Fragments of one datagram."""
MAX_DATAGRAM: Final = 65_535
LIFETIME: Final = 30 * SECOND

Key: TypeAlias = tuple[bytes, bytes, int, int]
"""Source, destination, protocol, identification."""


@define
class _Waiting:
    since: int
    pieces: dict[int, bytes] = field(factory=dict)
    """By offset."""
    total: int | None = None
    """The length of the whole, once the last fragment was seen."""
    size: int = 0


class Fragments:
    """The datagrams of which some fragments are missing.

    Datagrams whose fragments overlap are given up (RFC 5722), as are those that wait for longer
    than 30 s of the capture; ``lost`` counts them.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key, offset: int, more: bool, data: bytes, at: int) -> bytes | None:
        """Add one fragment at ``offset``; returns the datagram if it was the last to come."""
        waiting = self._waiting.get(key)
        if waiting is not None and at - waiting.since > LIFETIME:
            self._give_up(key)
            waiting = None
        if waiting is None:
            if len(self._waiting) >= MAX_WAITING:
                self._give_up(next(iter(self._waiting)))
            waiting = self._waiting[key] = _Waiting(at)
        if offset in waiting.pieces:
            if waiting.pieces[offset] != data:
                self._give_up(key)
            return None  # It came twice, as on a capture of several interfaces.
        end = offset + len(data)
        if not more:
            waiting.total = end
        waiting.pieces[offset] = data
        waiting.size += len(data)
        if self._is_impossible(waiting, offset, end):
            self._give_up(key)
            return None
        if waiting.size != waiting.total:
            return None
        del self._waiting[key]
        return b"".join(waiting.pieces[each] for each in sorted(waiting.pieces))

    @staticmethod
    def _is_impossible(waiting: _Waiting, offset: int, end: int) -> bool:
        if end > MAX_DATAGRAM or len(waiting.pieces) > MAX_FRAGMENTS:
            return True
        if waiting.total is not None and any(
            start + len(piece) > waiting.total for start, piece in waiting.pieces.items()
        ):
            return True
        return any(
            start < end and offset < start + len(piece)
            for start, piece in waiting.pieces.items()
            if start != offset
        )

    def _give_up(self, key: Key) -> None:
        del self._waiting[key]
        self.lost += 1
