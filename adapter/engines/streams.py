"""Several images at once on a CPU: a small network does not keep all cores busy with one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

import torch

from maskbridge.adapter.errors import SettingsError

T = TypeVar("T")
R = TypeVar("R")


def checked_streams(streams: int | None, device: torch.device) -> int:
    """How many images are predicted at once.

    Args:
        streams: 1 or more; None for 1 on a GPU and with one thread, else a quarter of PyTorch's threads, from 2 to 4.
        device: the network's.

    Raises:
        SettingsError: the number is invalid, or more than 1 on a GPU.

    Example:
        >>> checked_streams(2, torch.device("cpu"))
        2
    """
    threads = torch.get_num_threads()
    if streams is None:
        return 1 if device.type != "cpu" or threads == 1 else min(max(threads // 4, 2), 4)
    if not isinstance(streams, int) or isinstance(streams, bool) or not 1 <= streams <= 64:
        raise SettingsError(f"streams is a whole number from 1 to 64, not {streams!r}")
    if streams > 1 and device.type != "cpu":
        raise SettingsError(f"streams are for a CPU: on {device} choose a larger batch_size")
    return streams


class Streams:
    """Runs a function for several items at once, each in a thread with its share of PyTorch's threads.

    Args:
        count: how many at once; with 1 everything runs in the calling thread.

    Example:
        >>> Streams(2).map(len, ["a", "bc", ""])
        [1, 2, 0]
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The results of all items, in order."""
        results: Iterable[R] = map(function, items) if self.count == 1 else self._threads.map(function, items)
        return list(results)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        total, started = torch.get_num_threads(), threading.Barrier(self.count)

        def start() -> None:
            torch.set_num_threads(max(total // self.count, 1))
            started.wait()

        pool = ThreadPoolExecutor(self.count, thread_name_prefix="stream")
        for future in [pool.submit(start) for _ in range(self.count)]:
            future.result()
        torch.set_num_threads(total)  # each thread has its own number, but setting it also sets that of new threads
        return pool
