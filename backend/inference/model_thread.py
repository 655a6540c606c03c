"""The one thread that runs the model: batches of what waits, and calls that go before them."""

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
    """Runs items in batches, in the order in which they came; `call` goes before all items that wait.

    Args:
        run: runs a batch; it must not raise.
        batch_size: most items in a batch. A batch is what waits when the thread is free: it never waits for more.

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
        """Starts the thread; after a fork, never before."""
        threading.Thread(target=self._run_all, name="model", daemon=True).start()

    def put(self, item: T) -> None:
        """Adds an item."""
        self._waiting.put((1, next(self._order), item))

    def call(self, run: Callable[[], R], *, seconds: float) -> R:
        """Runs something in the thread, before all items that wait, and returns its result.

        Raises:
            TaskImageError: it did not end in time. Whatever ``run`` raises is raised here.
        """
        future: Future[R] = Future()
        self._waiting.put((0, next(self._order), _Call(run, future)))
        try:
            return future.result(timeout=max(seconds, 0))
        except futures.TimeoutError:  # Python 3.10 has two of that name
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
        """Takes the next of what waits: a call is run at once, an item joins the batch."""
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
