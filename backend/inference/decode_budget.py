"""Limits how many decoded images, and pixels of them, are in memory at the same time."""

from __future__ import annotations

import threading


class DecodeBudget:
    """A semaphore for decoded images: threads acquire it before they decode an image, and wait while it is exhausted.

    Images run in the order in which they are decoded, so the limit on images keeps requests fair: only few images of one
    request can be decoded ahead of another's. An image larger than the whole budget is let through when no other is held.

    Args:
        max_pixels: maximum number of pixels in all images.
        max_images: maximum number of images.
    """

    def __init__(self, *, max_pixels: int, max_images: int) -> None:
        self._max_pixels, self._max_images = max_pixels, max_images
        self._pixels = self._images = 0
        self._changed = threading.Condition()

    def acquire(self, pixels: int) -> None:
        """Waits until an image of so many pixels fits (or no image is held), and counts it."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(pixels))
            self._pixels += pixels
            self._images += 1

    def release(self, pixels: int) -> None:
        """Releases one image that was acquired, and its pixels."""
        with self._changed:
            self._pixels -= pixels
            self._images -= 1
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        fits = self._pixels + pixels <= self._max_pixels and self._images < self._max_images
        return fits or self._images == 0
