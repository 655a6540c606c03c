"""A progress bar for long jobs that counts images."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskbridge.adapter.long_jobs import run_to_end

T = TypeVar("T")


def with_bar(steps: Generator[int, None, T], total: int, what: str = "images") -> T:
    """Runs work to its end and returns what it returns; the bar is on standard error.

    Args:
        steps: yields how many of ``total`` are done.
        total: how many there are.
        what: what is counted, in a word or two.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        return run_to_end(steps, lambda done: bar.update(task, completed=done))
