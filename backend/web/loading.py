"""Loads something slow in the background, while the server already answers requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import TypeVar

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.web.logging_setup import summary

log = logging.getLogger(__name__)
T = TypeVar("T")


def load_in_background(
    future: Future[T], make: Callable[[], T], *, on_failure: Callable[[str], None] = lambda reason: None
) -> None:
    """Sets a future's result to that of a function, which is called in a thread of its own.

    If the function raises, that is logged, and ``on_failure`` is called with the reason.

    Example:
        >>> future = Future()
        >>> load_in_background(future, lambda: 42)
        >>> future.result(timeout=10)
        42
    """

    def run() -> None:
        try:
            future.set_result(make())
        except Exception as error:
            future.set_exception(error)
            log.error("loading failed: %s", failure(future))
            on_failure(failure(future) or "")

    threading.Thread(target=run, name="loading", daemon=True).start()


def loaded(future: Future[T], seconds: float = 0) -> T | None:
    """What was loaded; None if it is not available after this time.

    Example:
        >>> loaded(Future()) is None
        True
    """
    try:
        return future.result(timeout=max(seconds, 0))
    except futures.TimeoutError:  # not done yet; Python 3.10 has two of that name
        return None
    except Exception:  # `failure` says why
        return None


def failure(future: Future[T]) -> str | None:
    """Why loading failed; None if it did not (yet)."""
    error = future.exception() if future.done() else None
    return str(error) if isinstance(error, MaskbridgeError) else None if error is None else summary(error)
