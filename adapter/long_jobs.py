"""Long jobs are generators that yield their progress and return a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def run_to_end(steps: Generator[S, None, T], on_step: Callable[[S], Any] = lambda step: None) -> T:
    """Runs a job to its end and returns its result; ``on_step`` is called after each step.

    Example:
        >>> def job():
        ...     yield "half"
        ...     return 42
        >>> run_to_end(job(), print)
        half
        42
    """
    while True:
        try:
            on_step(next(steps))
        except StopIteration as end:
            return end.value
