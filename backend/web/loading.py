"""Loads something slow in the background, while the server already answers requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.web.logging_setup import summary

log = logging.getLogger(__name__)
T = TypeVar("T")


class Loading(Generic[T]):
    """Calls a function in a thread of its own; other threads can wait for its result.

    Args:
        make: the function; if it raises, loading has failed.

    Attributes:
        failure: why loading failed; None if it did not (yet).

    Example:
        >>> loading = Loading(lambda: 42)
        >>> loading.get() is None
        True
        >>> loading.start()
        >>> loading.get(seconds=10)
        42
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self.failure: str | None = None
        self._make = make
        self._result: T | None = None
        self._done = threading.Event()

    def start(self, on_failure: Callable[[str], None] = lambda reason: None) -> None:
        """Starts the thread; ``on_failure`` is called with the reason if loading fails."""
        threading.Thread(target=self._run, args=[on_failure], name="loading", daemon=True).start()

    def get(self, seconds: float = 0) -> T | None:
        """The result; None if it is not available after this time."""
        self._done.wait(max(seconds, 0))
        return self._result

    def _run(self, on_failure: Callable[[str], None]) -> None:
        try:
            self._result = self._make()
        except Exception as error:
            self.failure = str(error) if isinstance(error, MaskbridgeError) else summary(error)
            log.error("loading failed: %s", self.failure)
            on_failure(self.failure)
        finally:
            self._done.set()
