"""How many pixels of decoded photos may be in memory at once."""

from __future__ import annotations

import threading


class PixelBudget:
    """Threads take from it before they decode a photo, and wait while too much is taken.

    A photo larger than the whole budget is let through when nothing else is taken.
    """

    def __init__(self, pixels: int) -> None:
        self._limit, self._taken = pixels, 0
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        """Waits until so many pixels are free (or all are), and takes them."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + pixels <= self._limit)
            self._taken += pixels

    def give_back(self, pixels: int) -> None:
        """Frees pixels that were taken."""
        with self._changed:
            self._taken -= pixels
            self._changed.notify_all()
