"""A bounded queue that several requests share fairly."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue in which requests take turns: a request of 2 images does not wait for the 2,000 images of an earlier one, and
    those do not starve either.

    An item's turn is the turn of the item that was taken last, plus the item's index in its request: virtual time, as in
    fair queueing of network packets.

    Args:
        limit: maximum number of items in the queue.

    Example:
        >>> queue = FairQueue(limit=4)
        >>> queue.put(["a1", "a2"]), queue.put(["b1", "b2", "b3"])
        (2, 2)
        >>> [queue.get() for _ in range(4)]
        ['a1', 'b1', 'a2', 'b2']
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int, T]] = []
        self._turn = self._count = 0
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, items: Sequence[T]) -> int:
        """Adds a request's items, in order, as long as there is room; returns how many were added."""
        with self._changed:
            added = items[: max(self._limit - len(self._heap), 0)]
            for index, item in enumerate(added):
                self._count += 1
                heapq.heappush(self._heap, (self._turn + index, self._count, item))
            self._changed.notify(len(added))
            return len(added)

    def get(self) -> T:
        """Removes and returns the next item; waits for one if the queue is empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._heap)
            self._turn, _, item = heapq.heappop(self._heap)
            return item
