"""The one thread that runs the model: batches of waiting items, and calls with priority over them."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from maskbridge.labelstudio.errors import TaskImageError

R = TypeVar("R")
T = TypeVar("T")


@dataclass(eq=False)
class _Call:
    run: Callable[[], Any]
    future: Future[Any]


class ModelThread(Generic[T]):
    """Runs items in batches, in the order in which they were added; a `call` has priority over all waiting items.

    Args:
        run: runs a batch; it must not raise.
        batch_size: maximum number of items in a batch. The thread never waits for a batch to fill: a batch is what is
            waiting when the thread is free.

    Example:
        >>> thread = ModelThread[int](print, batch_size=2)
        >>> thread.start()
        >>> thread.call(lambda: 42, seconds=10)
        42
    """

    def __init__(self, run: Callable[[list[T]], None], *, batch_size: int) -> None:
        self._run, self._batch_size = run, batch_size
        self._waiting: queue.PriorityQueue[tuple[int, int, _Call | T]] = queue.PriorityQueue()
        self._order = itertools.count()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run_all, name="model", daemon=True).start()

    def put(self, item: T) -> None:
        """Adds an item."""
        self._waiting.put((1, next(self._order), item))

    def call(self, run: Callable[[], R], *, seconds: float) -> R:
        """Runs a function in the thread, before all waiting items, and returns its result.

        Args:
            run: the function; its exceptions are raised here.
            seconds: time limit.

        Raises:
            TaskImageError: the function did not return in time.
        """
        future: Future[R] = Future()
        self._waiting.put((0, next(self._order), _Call(run, future)))
        try:
            return future.result(timeout=max(seconds, 0))
        except futures.TimeoutError:  # Python 3.10 has two exceptions of that name
            future.cancel()
            raise TaskImageError("timeout", "the model did not answer in time") from None

    def _run_all(self) -> None:
        while True:
            batch: list[T] = []
            while not batch:
                self._take(batch, block=True)
            while len(batch) < self._batch_size and self._take(batch, block=False):
                pass
            self._run(batch)

    def _take(self, batch: list[T], *, block: bool) -> bool:
        """Takes the next call or item: a call runs immediately, an item is added to the batch."""
        try:
            _, _, item = self._waiting.get(block=block)
        except queue.Empty:
            return False
        if not isinstance(item, _Call):
            batch.append(item)
        elif item.future.set_running_or_notify_cancel():
            try:
                item.future.set_result(item.run())
            except Exception as error:
                item.future.set_exception(error)
        return True
