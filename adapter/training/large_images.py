"""Large images are shrunk before they are trained on: 100 megapixels with their masks would take gigabytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torchvision.transforms.v2 import functional as v2

from maskbridge.adapter.instances import Instances
from maskbridge.adapter.masks import MaskCrop

Size = tuple[int, int]
FACTOR = 2
"""Images stay at least this many times as large as the network's input."""


def working_size(size: Size, sides: Size) -> Size:
    """The (h, w) in which an image is trained on: its own ``size``, or `FACTOR` times the network's input if that is less.

    Args:
        size: (H, W) of the image.
        sides: the largest short and long side of the network's input (torchvision's ``min_size`` and ``max_size``).

    Example:
        >>> working_size((480, 640), (800, 1333)), working_size((10000, 10000), (800, 1333))
        ((480, 640), (1600, 1600))
    """
    scale = FACTOR * min(sides[0] / min(size), sides[1] / max(size))
    return size if scale >= 1 else (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))


def shrink(image: torch.Tensor, instances: Instances, size: Size) -> tuple[torch.Tensor, Instances]:
    """An image ([3, H, W]) and its objects in a smaller size (h, w): bilinear as the network resizes, masks by the nearest.

    Example:
        >>> mask = MaskCrop(0, 0, np.ones((2, 4), dtype=bool))
        >>> drawn = Instances((4, 4), [[0, 0, 4, 2]], [1], ("__background__", "cat"), [mask])
        >>> image, small = shrink(torch.zeros(3, 4, 4, dtype=torch.uint8), drawn, (2, 2))
        >>> tuple(image.shape), small.boxes.tolist(), small.frame(0).tolist()
        ((3, 2, 2), [[0.0, 0.0, 2.0, 1.0]], [[True, True], [False, False]])
    """
    rows, columns = (((np.arange(new) + 0.5) * (old / new)).astype(np.int64) for old, new in zip(instances.size, size))
    down, right = (new / old for old, new in zip(instances.size, size))
    return v2.resize(image, list(size), antialias=False), replace(
        instances,
        size=size,
        boxes=instances.boxes * np.array([right, down, right, down], dtype=np.float32),
        masks=tuple(None if crop is None else _sampled(crop, rows, columns) for crop in instances.masks),
    )


def _sampled(crop: MaskCrop, rows: np.ndarray, columns: np.ndarray) -> MaskCrop:
    """A mask at some rows and columns of the image."""
    y1, y2 = np.searchsorted(rows, [crop.y, crop.y + crop.pixels.shape[0]])
    x1, x2 = np.searchsorted(columns, [crop.x, crop.x + crop.pixels.shape[1]])
    return MaskCrop(int(x1), int(y1), crop.pixels[np.ix_(rows[y1:y2] - crop.y, columns[x1:x2] - crop.x)])
