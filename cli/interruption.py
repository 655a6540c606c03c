"""What Ctrl-C does to a command that can be resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as in shells."""


@contextmanager
def resumable() -> Iterator[None]:
    """Ends an interrupted command with a line that says how to resume it.

    Example:
        >>> try:
        ...     with resumable():
        ...         raise KeyboardInterrupt
        ... except typer.Exit as end:
        ...     print(end.exit_code)
        130
    """
    try:
        yield
    except KeyboardInterrupt:
        print("maskbridge: interrupted; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
