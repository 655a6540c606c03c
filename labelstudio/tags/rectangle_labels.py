"""RectangleLabels: boxes, in percent of the image's size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.masks import MaskCrop
from maskbridge.labelstudio.tags.label_tag import LabelTag


class RectangleLabels(LabelTag):
    """The instances' boxes, clipped to the image. A rotated rectangle is decoded as the box around it.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> tag = RectangleLabels("label", "image", {"cat": "Cat"})
        >>> cat = Instances((10, 20), [[5, 0, 10, 5]], [1], ("__background__", "cat"), [None])
        >>> tag.encode(cat)[0]["value"]
        {'x': 25.0, 'y': 0.0, 'width': 25.0, 'height': 50.0, 'rotation': 0, 'rectanglelabels': ['Cat']}
    """

    kind = "RectangleLabels"
    shape_key = "width"
    needs_masks = False

    def _values(
        self, crop: MaskCrop | None, box: np.ndarray, size: tuple[int, int]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        height, width = size
        x1, y1, x2, y2 = (float(value) for value in box)
        left, right = _percent(x1, width), _percent(x2, width)
        top, bottom = _percent(y1, height), _percent(y2, height)
        if left < right and top < bottom:
            # The editor adds position and size: the sum must not exceed 100 by rounding.
            sides = {"width": min(right - left, 100 - left), "height": min(bottom - top, 100 - top)}
            yield {"x": left, "y": top, **sides, "rotation": 0}, {}

    def _decode_value(self, value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Sequence[float], MaskCrop | None]:
        return box_of_rectangle(value, size), None


def box_of_rectangle(value: Mapping[str, Any], size: tuple[int, int]) -> list[float]:
    """The box (xyxy in pixels) around a rectangle of Label Studio, clipped to an image of ``size`` (H, W).

    The rectangle may be rotated about its upper left corner.

    Raises:
        AnnotationError: a value is not finite, or the width or height is not above 0.
    """
    height, width = size
    box = [float(value[side]) for side in ("x", "y", "width", "height")]
    angle = math.radians(float(value.get("rotation") or 0))
    if not all(map(math.isfinite, [*box, angle])) or box[2] <= 0 or box[3] <= 0:
        raise AnnotationError(f"a rectangle is x, y, width, height in percent, not {box}")
    x, y, across, down = (side / 100 * extent for side, extent in zip(box, (width, height, width, height)))
    corners = [(u * across, v * down) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
    xs = [x + u * math.cos(angle) - v * math.sin(angle) for u, v in corners]
    ys = [y + u * math.sin(angle) + v * math.cos(angle) for u, v in corners]
    return [max(min(xs), 0), max(min(ys), 0), min(max(xs), width), min(max(ys), height)]


def _percent(value: float, extent: int) -> float:
    return min(max(100 * value / extent, 0.0), 100.0)
