"""A progress bar for long jobs that counts images."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskbridge.adapter.long_jobs import run_to_end

T = TypeVar("T")


def with_bar(steps: Generator[int, None, T], total: int, what: str = "images") -> T:
    """Runs a generator to its end with a progress bar on standard error; returns its result.

    Args:
        steps: yields the number that is done of ``total``.
        total: the number in all.
        what: a name for what is counted, such as ``"images"``.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        return run_to_end(steps, lambda done: bar.update(task, completed=done))
