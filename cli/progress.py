"""A progress bar for long jobs that counts images."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskbridge.adapter.long_jobs import run_to_end

T = TypeVar("T")


def with_named_bar(steps: Generator[tuple[str, int], None, T], total: int) -> T:
    """Like `with_bar`, for steps that also name what is being done; each name counts from 0 to the total.

    Example:
        >>> def twice():
        ...     yield "first", 1
        ...     yield "second", 1
        ...     return "finished"
        >>> with_named_bar(twice(), 1)
        'finished'
    """
    with _bar() as bar:
        task = bar.add_task("", total=total)
        return run_to_end(steps, lambda step: bar.update(task, description=step[0], completed=step[1]))


def with_bar(steps: Generator[int, None, T], total: int, description: str = "images") -> T:
    """Runs a generator to its end with a progress bar on standard error; returns its result.

    Args:
        steps: yields how many of ``total`` are done.
        total: the number of steps in all.
        description: the name of the counted things, such as ``"images"``.

    Example:
        >>> def count(total):
        ...     for done in range(1, total + 1):
        ...         yield done
        ...     return "finished"
        >>> with_bar(count(3), 3)
        'finished'
    """
    with _bar() as bar:
        task = bar.add_task(description, total=total)
        return run_to_end(steps, lambda done: bar.update(task, completed=done))


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
