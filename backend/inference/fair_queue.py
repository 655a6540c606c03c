"""A bounded queue that several requests share fairly."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Requests take turns: a request of 2 images does not wait for the 2,000 of one before it, nor do those starve.

    Each item is due at the turn of the last one taken plus its place in its request, the rule of virtual time in fair
    queueing.

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
        """Adds a request's items, in order, as long as there is room; how many were taken."""
        with self._changed:
            taken = items[: max(self._limit - len(self._heap), 0)]
            for place, item in enumerate(taken):
                self._count += 1
                heapq.heappush(self._heap, (self._turn + place, self._count, item))
            self._changed.notify(len(taken))
            return len(taken)

    def get(self) -> T:
        """The next item; waits for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._heap)
            self._turn, _, item = heapq.heappop(self._heap)
            return item
