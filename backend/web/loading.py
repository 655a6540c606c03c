"""Something slow, made in the background while the server answers already."""

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
    """Makes one thing in a thread of its own; whoever needs it waits for it.

    Args:
        make: makes it; what it raises is the failure.

    Attributes:
        failure: why it could not be made, None while it can.

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
        self._found: T | None = None
        self._done = threading.Event()

    def start(self, on_failure: Callable[[str], None] = lambda reason: None) -> None:
        """Begins; ``on_failure`` is told the reason, if it comes to that."""
        threading.Thread(target=self._run, args=[on_failure], name="loading", daemon=True).start()

    def get(self, seconds: float = 0) -> T | None:
        """The thing, waiting so long for it; None where it is not there by then."""
        self._done.wait(max(seconds, 0))
        return self._found

    def _run(self, on_failure: Callable[[str], None]) -> None:
        try:
            self._found = self._make()
        except Exception as error:
            self.failure = str(error) if isinstance(error, MaskbridgeError) else summary(error)
            log.error("loading failed: %s", self.failure)
            on_failure(self.failure)
        finally:
            self._done.set()
