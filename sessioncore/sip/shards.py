"""A large dict split into parts, so that no insertion has to move all of it.

A full dict moves all its entries to a larger table.  That takes 13 ms at 87,000 entries and
61 ms at 350,000, during which no media is sent.  It also happens now and then at a constant
size, because the place of a deleted entry stays unused until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, Generic, TypeVar

__all__ = ["LAST", "Shards"]

Value = TypeVar("Value")

LAST: Final = 63
"""The index of the last part; a power of two minus one.

The limit of the transaction layer (250,000 entries) makes 4,000 entries per part.
"""


class Shards(Generic[Value]):
    """A dict with ``bytes`` (or None) as keys, made of 64 dicts.

    Code that must be fast uses ``parts[hash(key) & LAST]``, the dict that has ``key`` if any has,
    which saves a call.  Python randomizes the hash of bytes, so nobody can choose keys that all
    fall into one part.
    """

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: tuple[dict[bytes | None, Value], ...] = tuple({} for _ in range(LAST + 1))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __contains__(self, key: bytes | None) -> bool:
        return key in self.parts[hash(key) & LAST]

    def __setitem__(self, key: bytes | None, value: Value) -> None:
        self.parts[hash(key) & LAST][key] = value

    def __delitem__(self, key: bytes | None) -> None:
        del self.parts[hash(key) & LAST][key]

    def get(self, key: bytes | None) -> Value | None:
        """The value of ``key``, or None."""
        return self.parts[hash(key) & LAST].get(key)

    def pop(self, key: bytes | None) -> Value | None:
        """Remove ``key``; returns its value, or None if it was missing."""
        return self.parts[hash(key) & LAST].pop(key, None)

    def items(self) -> Iterator[tuple[bytes | None, Value]]:
        """All (key, value) pairs, in no particular order."""
        return chain.from_iterable(part.items() for part in self.parts)

    def clear(self) -> None:
        """Remove all entries."""
        for part in self.parts:
            part.clear()
