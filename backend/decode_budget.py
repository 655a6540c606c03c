"""How many decoded photos, and pixels of them, may be in memory at once."""

from __future__ import annotations

import threading


class DecodeBudget:
    """Threads take from it before they decode a photo, and wait while too much is taken.

    The count keeps turns fair: what is decoded is run in order, so little of one request may be ahead of another's. A photo
    larger than the whole budget is let through when nothing else is taken.

    Args:
        pixels: most pixels of all photos.
        photos: most photos.
    """

    def __init__(self, *, pixels: int, photos: int) -> None:
        self._most_pixels, self._most_photos = pixels, photos
        self._pixels = self._photos = 0
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        """Waits until a photo of so many pixels fits (or nothing is taken), and takes them."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(pixels))
            self._pixels += pixels
            self._photos += 1

    def give_back(self, pixels: int) -> None:
        """Frees what `take` took for one photo."""
        with self._changed:
            self._pixels -= pixels
            self._photos -= 1
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        fits = self._pixels + pixels <= self._most_pixels and self._photos < self._most_photos
        return fits or self._photos == 0
