"""The steps around an exported network in numpy alone, with the arithmetic of torchvision's.

`docs/onnx.md` has them as one program without this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from maskbridge.adapter.masks import MaskCrop

PADDING = 1
"""Padding around a 28 x 28 mask before pasting, in pixels: the default of torchvision's ``paste_masks_in_image``."""
STEP = 32
"""Height and width of the network's input are multiples of this."""
_ROWS = 1024
"""Rows of a mask that are float at a time."""


@dataclass(frozen=True)
class Scaling:
    """How an image is scaled for the network, its sides' ratio kept.

    Attributes:
        rule: ``"sides"``: the short side gets the first of ``limits``, or less where the long one would exceed the second
            (torchvision's ``min_size`` and ``max_size``). ``"fit"``: the image fits into a height and a width.
        limits: in pixels.

    Example:
        >>> Scaling("sides", (800, 1333)).size_of((480, 640)), Scaling("fit", (320, 320)).size_of((480, 640))
        ((800, 1066), (240, 320))
    """

    rule: Literal["sides", "fit"]
    limits: tuple[int, int]

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (h, w), at least one pixel each, to which an image of ``size`` (H, W) is resized."""
        lengths = (min(size), max(size)) if self.rule == "sides" else size
        scale = min(self.limits[0] / lengths[0], self.limits[1] / lengths[1])
        return max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (h, w) of the input for an image that was resized to ``size`` (h, w).

    Example:
        >>> padded_size((800, 1066))
        (800, 1088)
    """
    return -(-size[0] // STEP) * STEP, -(-size[1] // STEP) * STEP


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image bilinearly, as ``torch.nn.functional.interpolate(…, align_corners=False)`` does.

    Only the pixels that the result needs are converted to floats, so a large image costs no more than a small one.

    Args:
        image: [H, W, C], uint8 in 0..255 or float in 0..1.
        size: (h, w) of the result.

    Returns:
        float32 [C, h, w] in 0..1.

    Example:
        >>> resize(np.array([[[0], [255]]], dtype=np.uint8), (1, 4)).round(2).tolist()
        [[[0.0, 0.25, 0.75, 1.0]]]
    """
    (y0, y1, fy), (x0, x1, fx) = (_neighbors(old, new) for old, new in zip(image.shape[:2], size))
    unit = np.float32(255 if image.dtype == np.uint8 else 1)

    def lines(y: np.ndarray) -> np.ndarray:
        left, right = (image[y[:, None], x[None]].astype(np.float32) / unit for x in (x0, x1))
        return left * (1 - fx)[None, :, None] + right * fx[None, :, None]

    resized = lines(y0) * (1 - fy)[:, None, None] + lines(y1) * fy[:, None, None]
    return np.ascontiguousarray(resized.transpose(2, 0, 1))


def paste(probabilities: np.ndarray, box: np.ndarray, size: tuple[int, int], threshold: float) -> MaskCrop:
    """Pastes one mask into a crop of the image, as `maskbridge.adapter.pasting.paste` does with PyTorch.

    Args:
        probabilities: float [M, M] in 0..1.
        box: [4], xyxy, in pixels of the image.
        size: (H, W) of the image.
        threshold: pixels with a probability of at least this are in the mask, 0 to 1.

    Example:
        >>> crop = paste(np.ones((28, 28), np.float32), np.array([10, 20, 30, 60]), (100, 100), 0.5)
        >>> crop.x, crop.y, crop.pixels.shape
        (9, 18, (44, 22))
    """
    padded = np.pad(probabilities, PADDING).astype(np.float32)
    x1, y1, x2, y2 = _window(np.asarray(box, dtype=np.float32), np.float32(len(padded) / len(probabilities)))
    left, right = max(x1, 0), min(x2 + 1, size[1])
    top, bottom = max(y1, 0), min(y2 + 1, size[0])
    if left >= right or top >= bottom:
        return MaskCrop(min(left, size[1]), min(top, size[0]), np.zeros((0, 0), dtype=bool))
    rows = [part[top - y1 : bottom - y1] for part in _neighbors(len(padded), max(y2 - y1 + 1, 1))]
    columns = [part[left - x1 : right - x1] for part in _neighbors(len(padded), max(x2 - x1 + 1, 1))]
    (y_before, y_after, fy), (x_before, x_after, fx) = rows, columns
    wide = padded[:, x_before] * (1 - fx) + padded[:, x_after] * fx
    pixels = np.empty((bottom - top, right - left), dtype=bool)
    for start in range(0, len(pixels), _ROWS):
        part = slice(start, start + _ROWS)
        weight = fy[part, None]
        pixels[part] = wide[y_before[part]] * (1 - weight) + wide[y_after[part]] * weight >= np.float32(threshold)
    return MaskCrop(left, top, pixels)


def _neighbors(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``new`` positions the two of ``old`` between which it lies, and the second one's weight."""
    position = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    position = position.clip(0)
    before = np.minimum(position.astype(np.int64), old - 1)
    return before, np.minimum(before + 1, old - 1), position - before.astype(np.float32)


def _window(box: np.ndarray, scale: np.float32) -> tuple[int, int, int, int]:
    """The box, larger by the padding of its mask, in whole pixels: xyxy, both ends included."""
    half = (box[2:] - box[:2]) * np.float32(0.5) * scale
    center = (box[2:] + box[:2]) * np.float32(0.5)
    x1, y1, x2, y2 = (int(value) for value in (*(center - half), *(center + half)))
    return x1, y1, x2, y2
