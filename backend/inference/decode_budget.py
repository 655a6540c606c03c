"""How many decoded images, and pixels of them, may be in memory at once."""

from __future__ import annotations

import threading


class DecodeBudget:
    """Threads take from it before they decode a image, and wait while too much is taken.

    The count keeps turns fair: what is decoded is run in order, so little of one request may be ahead of another's. A image
    larger than the whole budget is let through when nothing else is taken.

    Args:
        pixels: most pixels of all images.
        images: most images.
    """

    def __init__(self, *, pixels: int, images: int) -> None:
        self._most_pixels, self._most_images = pixels, images
        self._pixels = self._images = 0
        self._changed = threading.Condition()

    def take(self, pixels: int) -> None:
        """Waits until a image of so many pixels fits (or nothing is taken), and takes them."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(pixels))
            self._pixels += pixels
            self._images += 1

    def give_back(self, pixels: int) -> None:
        """Frees what `take` took for one image."""
        with self._changed:
            self._pixels -= pixels
            self._images -= 1
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        fits = self._pixels + pixels <= self._most_pixels and self._images < self._most_images
        return fits or self._images == 0
