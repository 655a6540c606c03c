"""The settings of a request, and their validation: errors name the invalid value and the allowed ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maskbridge.adapter.errors import SettingsError, nearest

Precision = Literal["float32", "bfloat16", "float16"]
"""Precision of the network's arithmetic; a lower one is faster on a GPU, and less exact."""

NOT_A_CLASS = "N/A"
"""The class name of unused ids in COCO's numbering: never predicted."""


@dataclass(frozen=True)
class Settings:
    """Validated settings of a request, from `maskbridge.adapter.MaskRCNN.settings`.

    Attributes:
        confidence_threshold: objects with a higher score are detected, 0 to 1.
        mask_threshold: pixels with a probability of at least this are in a mask, 0 to 1.
        classes: for each label, whether it is detected.
        max_detections: maximum number of objects per image.
        masks: whether masks are predicted; if not, the mask head is not run.
    """

    confidence_threshold: float
    mask_threshold: float
    classes: tuple[bool, ...]
    max_detections: int
    masks: bool = True


def class_choices(class_names: Sequence[str]) -> list[str]:
    """Names of the classes that can be detected: without the background and COCO's unused ids."""
    return [name for name in class_names[1:] if name != NOT_A_CLASS]


def checked_settings(
    class_names: Sequence[str],
    confidence_threshold: float,
    mask_threshold: float,
    classes: Collection[str] | None,
    max_detections: int,
    *,
    masks: bool = True,
) -> Settings:
    """Validates the settings of a request to a model with these class names; see `maskbridge.adapter.MaskRCNN.predict`."""
    for name, value in (("confidence_threshold", confidence_threshold), ("mask_threshold", mask_threshold)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise SettingsError(f"{name} is a number from 0 to 1, not {value!r}")
    if not isinstance(max_detections, int) or isinstance(max_detections, bool) or max_detections < 1:
        raise SettingsError(f"max_detections is a whole number of 1 or more, not {max_detections!r}")
    allowed = class_choices(class_names)
    if isinstance(classes, str):
        raise SettingsError(f"classes is a list of names, not one string: [{classes!r}]")
    for name in classes or ():
        if name not in allowed:
            raise SettingsError(f"unknown class {name!r}: {nearest(str(name), allowed)}")
    chosen = set(allowed if classes is None else classes)
    flags = (False, *(name in chosen for name in class_names[1:]))
    return Settings(float(confidence_threshold), float(mask_threshold), flags, max_detections, masks)


def checked_labels(labels: Sequence[str | int | None] | None, class_names: Sequence[str], count: int) -> list[int]:
    """Converts class names or labels to labels; None becomes 0."""
    if labels is None:
        return [0] * count
    if isinstance(labels, str) or len(labels) != count:
        raise SettingsError(f"labels is one label for each of the {count} boxes, not {labels!r}")
    labels_of = {name: label for label, name in enumerate(class_names) if label and name != NOT_A_CLASS}
    checked = []
    for label in labels:
        if isinstance(label, str) and label not in labels_of:
            raise SettingsError(f"unknown class {label!r}: {nearest(label, labels_of)}")
        value = labels_of[label] if isinstance(label, str) else label
        if value is not None and value not in labels_of.values():
            raise SettingsError(f"labels are 1 to {len(class_names) - 1}, without unused ids, not {label!r}")
        checked.append(0 if value is None else int(value))
    return checked


def checked_boxes(boxes: np.ndarray | Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """Converts boxes (xyxy, in pixels) to float32 [N, 4]; each must have an area inside the image of ``size`` (H, W)."""
    try:
        array = np.array(boxes, dtype=np.float32).reshape(-1, 4) if len(boxes) else np.zeros((0, 4), np.float32)
    except (TypeError, ValueError):
        raise SettingsError("boxes is [N, 4]: four numbers x1, y1, x2, y2 for each") from None
    height, width = size
    for index, (x1, y1, x2, y2) in enumerate(array.tolist()):
        if not np.isfinite(array[index]).all():
            raise SettingsError(f"box {index} has a coordinate that is not finite: {array[index].tolist()}")
        if not (x1 < x2 and y1 < y2 and x1 < width and y1 < height and x2 > 0 and y2 > 0):
            raise SettingsError(
                f"box {index} {array[index].tolist()} has no area inside the image of {width} x {height} pixels "
                "(boxes are x1, y1, x2, y2)"
            )
    return array
