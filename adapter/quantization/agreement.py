"""How far two models' predictions for the same images agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskbridge.adapter.weights.quantized import Loss

MIN_IOU = 0.5
"""Objects of one class with at least this IoU are the same."""

Annotations = Sequence[Mapping[str, Any]]
"""An image's objects, as `maskbridge.adapter.Instances.to_coco` returns them."""


def compare(expected: Iterable[Annotations], actual: Iterable[Annotations], *, confidence_threshold: float = 0.5) -> Loss:
    """Compares the objects above a confidence threshold, image by image; each matches at most one, the nearest first.

    Args:
        expected: predictions to compare with.
        actual: other predictions for the same images.
        confidence_threshold: objects with a higher score are compared.

    Example:
        >>> cat = {"category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.9}
        >>> dog = {"category_id": 2, "bbox": [0, 0, 10, 10], "score": 0.9}
        >>> compare([[cat], [cat]], [[cat], [dog]])
        Loss(images=2, objects=2, mask_iou=1.0, lost=0.5, gained=0.5, ap=None)
    """
    images = objects = others = 0
    ious: list[float] = []
    for rows, columns in zip(expected, actual):
        kept = [[one for one in part if one["score"] > confidence_threshold] for part in (rows, columns)]
        ious += _matches(*kept)
        images, objects, others = images + 1, objects + len(kept[0]), others + len(kept[1])
    mean = float(np.mean(ious)) if ious else float(objects == 0)
    count = max(objects, 1)
    return Loss(images, objects, mean, (objects - len(ious)) / count, (others - len(ious)) / count)


def _matches(expected: Annotations, actual: Annotations) -> list[float]:
    """The IoU of each pair of objects."""
    if not expected or not actual:
        return []
    if all("segmentation" in one for one in (*expected, *actual)):
        shapes: Any = [[one["segmentation"] for one in part] for part in (expected, actual)]
    else:
        shapes = [np.array([one["bbox"] for one in part], dtype=np.float64) for part in (expected, actual)]
    ious = np.asarray(coco_mask.iou(*shapes, [0] * len(actual)))
    labels = [np.array([one["category_id"] for one in part]) for part in (expected, actual)]
    ious = np.where(labels[0][:, None] == labels[1][None], ious, 0.0)
    matches = []
    while ious.max() >= MIN_IOU:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        matches.append(float(ious[row, column]))
        ious[row, :] = ious[:, column] = 0.0
    return matches
