"""What Ctrl-C does to a command that can be resumed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as in shells."""


@contextmanager
def resumable() -> Iterator[Callable[[], None]]:
    """Ends an interrupted command with a line that says how to resume it.

    Yields:
        A function to call between steps; it raises KeyboardInterrupt if Ctrl-C was pressed. Python loses the one that
        Ctrl-C itself raises if it happens to run a finalizer or a callback, in which exceptions are ignored.

    Example:
        >>> try:
        ...     with resumable() as check:
        ...         check()
        ...         raise KeyboardInterrupt
        ... except typer.Exit as end:
        ...     print(end.exit_code)
        130
    """
    pressed = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()  # others cannot handle signals
    previous = signal.signal(signal.SIGINT, on_signal) if is_main else None
    try:
        yield check
    except KeyboardInterrupt:
        print("maskbridge: interrupted; run the same command again to resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
