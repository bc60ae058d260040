"""A large dict in parts, so that no insertion has to move all of it.

A dict that is full moves everything it holds to a larger table: 13 ms at 87,000 entries, 61 ms at
350,000, in which no media leaves.  It does so now and then even at a constant size, since a
deleted entry leaves its place unused until then.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final, Generic, TypeVar

__all__ = ["LAST", "Shards"]

Value = TypeVar("Value")

LAST: Final = 63
"""The index of the last part; a power of two less one.

Twice the most that the transaction layer remembers (250,000 entries) makes 8,000 a part.
"""


class Shards(Generic[Value]):
    """What a dict with ``bytes`` (or None) as keys does, in 64 dicts.

    Where it matters, look into ``parts[hash(key) & LAST]``, the dict that has ``key`` if any has:
    that saves a call.  The hash of bytes is keyed by chance, so nobody can choose keys that are all
    in one part.
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
        """Take ``key`` out; its value, or None where it was not there."""
        return self.parts[hash(key) & LAST].pop(key, None)

    def items(self) -> Iterator[tuple[bytes | None, Value]]:
        """All (key, value), in no order."""
        return chain.from_iterable(part.items() for part in self.parts)

    def clear(self) -> None:
        """Forget all."""
        for part in self.parts:
            part.clear()
