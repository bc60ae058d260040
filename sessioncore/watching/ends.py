"""The beginning and the end of a long list, within limits; what is between them is dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Ends"]

T = TypeVar("T")


class Ends(Generic[T]):
    """Keeps at most ``most`` items, of ``room`` bytes in all: the first half and the last.

    ``dropped`` counts the items between, ``size`` the bytes of those that are kept.
    """

    __slots__ = ("_first", "_last", "_last_size", "_most", "_open", "_room", "dropped", "size")

    def __init__(self, most: int, room: int) -> None:
        self.dropped = 0
        self.size = 0
        self._most = most // 2
        self._room = room // 2
        self._first: list[T] = []
        self._last: deque[tuple[int, T]] = deque()
        self._last_size = 0
        self._open = True

    def __iter__(self) -> Iterator[T]:
        yield from self._first
        for _, item in self._last:
            yield item

    def __len__(self) -> int:
        return len(self._first) + len(self._last)

    def add(self, item: T, size: int) -> None:
        """Keep ``item`` of ``size`` bytes, perhaps in place of older ones."""
        self._open = self._open and len(self._first) < self._most and self.size + size <= self._room
        self.size += size
        if self._open:
            self._first.append(item)
            return
        self._last.append((size, item))
        self._last_size += size
        while self._last and (len(self._last) > self._most or self._last_size > self._room):
            gone, _ = self._last.popleft()
            self._last_size -= gone
            self.size -= gone
            self.dropped += 1
