"""Masks as crops: a small bool array and its position in the image instead of a full frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """The mask of one object in a window of the image.

    Attributes:
        x: column of the image where the window starts, 0 or more.
        y: row of the image where the window starts, 0 or more.
        pixels: bool [h, w], True on the object. h or w may be 0, if no part of the object is in the image.
    """

    x: int
    y: int
    pixels: np.ndarray

    def frame(self, size: tuple[int, int]) -> np.ndarray:
        """The mask as a full frame: bool [H, W] for ``size`` = (H, W)."""
        return self.window(0, 0, size[1], size[0])

    def window(self, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
        """The mask in another window of the image: bool [y2 - y1, x2 - x1], False outside this crop.

        Example:
            >>> MaskCrop(x=1, y=0, pixels=np.ones((1, 2), dtype=bool)).window(0, 0, 2, 1)
            array([[False,  True]])
        """
        window = np.zeros((max(y2 - y1, 0), max(x2 - x1, 0)), dtype=bool)
        self.write_into(window, x1, y1)
        return window

    def write_into(self, window: np.ndarray, x1: int = 0, y1: int = 0) -> None:
        """Writes the mask into an array of any dtype whose first pixel is column x1, row y1 of the image."""
        x2, y2 = x1 + window.shape[1], y1 + window.shape[0]
        height, width = self.pixels.shape
        left, right = max(x1, self.x), min(x2, self.x + width)
        top, bottom = max(y1, self.y), min(y2, self.y + height)
        if left < right and top < bottom:
            source = self.pixels[top - self.y : bottom - self.y, left - self.x : right - self.x]
            window[top - y1 : bottom - y1, left - x1 : right - x1] = source

    @property
    def area(self) -> int:
        """Number of pixels of the object."""
        return int(np.count_nonzero(self.pixels))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The tight box (xyxy, pixels) around the object; its area is 0 if the mask is empty."""
        tight = self.trimmed()
        height, width = tight.pixels.shape
        return tight.x, tight.y, tight.x + width, tight.y + height

    def run_lengths(self, size: tuple[int, int]) -> np.ndarray:
        """Row-major run lengths of the full frame of ``size`` (H, W), computed without building that frame.

        Returns:
            int64: lengths of runs outside, on, outside, … the object. The first may be 0; their sum is H x W.

        Example:
            >>> MaskCrop(1, 0, np.ones((2, 1), dtype=bool)).run_lengths((2, 3)).tolist()
            [1, 1, 2, 1, 1]
        """
        height, width = size
        if self.x < 0 or self.y < 0 or self.x + self.pixels.shape[1] > width or self.y + self.pixels.shape[0] > height:
            return MaskCrop(0, 0, self.frame(size)).trimmed().run_lengths(size)
        rows = np.zeros((self.pixels.shape[0], self.pixels.shape[1] + 2), dtype=bool)
        rows[:, 1:-1] = self.pixels
        values = rows.ravel()
        row, edge = np.divmod(np.flatnonzero(values[1:] != values[:-1]), rows.shape[1])
        edges = (self.y + row) * width + self.x + edge
        # A run that reaches the right edge may continue in the next row: its end and the next start are then equal.
        continued = np.flatnonzero(edges[1:-1:2] == edges[2::2])
        edges = np.delete(edges, np.concatenate([2 * continued + 1, 2 * continued + 2]))
        return np.diff(np.concatenate([[0], edges, [height * width]]))

    def trimmed(self) -> MaskCrop:
        """The smallest crop with the same pixels (0 x 0 at the same position if there are none)."""
        rows, columns = np.flatnonzero(self.pixels.any(axis=1)), np.flatnonzero(self.pixels.any(axis=0))
        if not len(rows):
            return MaskCrop(self.x, self.y, np.zeros((0, 0), dtype=bool))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        return MaskCrop(self.x + int(left), self.y + int(top), self.pixels[top:bottom, left:right])


def crop_of_frame(frame: np.ndarray) -> MaskCrop:
    """The trimmed crop of a full-frame mask ([H, W], nonzero on the object).

    Example:
        >>> frame = np.zeros((4, 5), dtype=bool)
        >>> frame[1, 2:4] = True
        >>> crop = crop_of_frame(frame)
        >>> crop.x, crop.y, crop.pixels.tolist()
        (2, 1, [[True, True]])
    """
    crop = MaskCrop(0, 0, np.asarray(frame) != 0).trimmed()
    return MaskCrop(crop.x, crop.y, crop.pixels.copy())  # a view would keep the whole frame in memory
