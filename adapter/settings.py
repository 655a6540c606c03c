"""The settings of a request, and their validation: errors name the invalid value and the allowed ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from maskbridge.adapter.confidence import Confidence
from maskbridge.adapter.errors import SettingsError, nearest
from maskbridge.adapter.validation import Fraction, PositiveInteger, Validated

if TYPE_CHECKING:
    import numpy as np

FloatPrecision = Literal["float32", "bfloat16", "float16"]
"""Precision of the network's arithmetic; a lower one is faster on a GPU, and less exact."""

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
"""Precision of predictions; ``auto`` is int8 for weights that ``maskbridge quantize`` wrote, else float32."""

EngineName = Literal["torch", "openvino", "onnxruntime", "auto"]
"""What runs the network's layers (see docs/engines.md); ``auto`` is OpenVINO on a CPU if it is installed, else torch."""

NOT_A_CLASS = "N/A"
"""The class name of unused ids in COCO's numbering: never predicted."""


class Settings(Validated):
    """Settings of a request, from `maskbridge.adapter.MaskRCNN.settings`.

    Attributes:
        confidence_threshold: objects with a higher score are detected, 0 to 1; the lowest of ``class_thresholds``, if set.
        mask_threshold: pixels with a probability of at least this are in a mask, 0 to 1.
        classes: for each label, whether it is detected.
        max_detections: maximum number of objects per image.
        masks: whether masks are predicted; if not, the mask head is not run.
        class_thresholds: for each label its own confidence threshold; None if all have the same.

    Example:
        >>> Settings(confidence_threshold=2, mask_threshold=0.5, classes=(False, True), max_detections=100)
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: confidence_threshold is a number from 0 to 1, not 2
    """

    confidence_threshold: Fraction
    mask_threshold: Fraction
    classes: tuple[bool, ...]
    max_detections: PositiveInteger
    masks: bool = True
    class_thresholds: tuple[Fraction, ...] | None = None


def class_choices(class_names: Sequence[str]) -> list[str]:
    """Names of the classes that can be detected: without the background and COCO's unused ids.

    Example:
        >>> class_choices(["__background__", "person", "N/A", "car"])
        ['person', 'car']
    """
    return [name for name in class_names[1:] if name != NOT_A_CLASS]


def class_flags(class_names: Sequence[str], classes: Collection[str] | None) -> tuple[bool, ...]:
    """For each label, whether its class is among ``classes``; None for all that can be detected.

    Raises:
        SettingsError: a class is unknown; the nearest is suggested.

    Example:
        >>> class_flags(["__background__", "person", "car"], ["car"])
        (False, False, True)
    """
    allowed = class_choices(class_names)
    if isinstance(classes, str):
        raise SettingsError(f"classes is a list of names, not one string: [{classes!r}]")
    for name in classes or ():
        if name not in allowed:
            raise SettingsError(f"unknown class {name!r}: {nearest(str(name), allowed)}")
    chosen = set(allowed if classes is None else classes)
    return (False, *(name in chosen for name in class_names[1:]))


def request_settings(
    class_names: Sequence[str],
    confidence: Confidence,
    *,
    mask_threshold: float,
    classes: Collection[str] | None,
    max_detections: int,
    masks: bool = True,
) -> Settings:
    """The settings of a request for a network of these classes (see `maskbridge.adapter.MaskRCNN.predict`).

    Raises:
        SettingsError: a value is out of range, or a class is unknown.

    Example:
        >>> names = ["__background__", "person", "dog"]
        >>> confidence = Confidence(0.5, (("dog", 0.4),))
        >>> request_settings(names, confidence, mask_threshold=0.5, classes=None, max_detections=100).class_thresholds
        (0.5, 0.5, 0.4)
    """
    confidence.check_classes(class_choices(class_names))
    thresholds = tuple(confidence.of_class(name) for name in class_names)
    return Settings(
        confidence_threshold=min(thresholds) if confidence.by_class else confidence.default,
        mask_threshold=mask_threshold,
        classes=class_flags(class_names, classes),
        max_detections=max_detections,
        masks=masks,
        class_thresholds=thresholds if confidence.by_class else None,
    )


def checked_labels(labels: Sequence[str | int | None] | None, class_names: Sequence[str], count: int) -> list[int]:
    """Converts class names or labels to ``count`` labels; None becomes 0.

    Raises:
        SettingsError: there is another number of labels, or a label is unknown.

    Example:
        >>> checked_labels(["car", 1, None], ["__background__", "person", "car"], 3)
        [2, 1, 0]
    """
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
    """Converts boxes (xyxy, in pixels) to float32 [N, 4]; each must have an area inside the image of ``size`` (H, W).

    Raises:
        SettingsError: a box is malformed, not finite, or has no area inside the image.

    Example:
        >>> checked_boxes([[0, 0, 4, 3]], (10, 20)).tolist()
        [[0.0, 0.0, 4.0, 3.0]]
    """
    import numpy as np  # the commands' options come from here, and --help imports nothing slow

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
