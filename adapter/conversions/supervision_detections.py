"""Instances as ``Detections`` of supervision (https://supervision.roboflow.com/latest/detection/core/)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.adapter.masks import MaskCrop, crop_of_frame
from maskbridge.adapter.optional_dependencies import requires

if TYPE_CHECKING:
    import supervision

NAMES, IDS = "class_name", "id"
"""Keys of ``data``; the first is supervision's own."""


def to_supervision(instances: Instances) -> supervision.Detections:
    """See `Instances.to_supervision`.

    Example:
        >>> detections = to_supervision(Instances((9, 9), [[0, 0, 4, 4]], [1], ("__background__", "cat"), [None]))
        >>> detections.class_id.tolist(), detections.data["class_name"].tolist(), detections.mask
        ([1], ['cat'], None)
    """
    with requires("supervision"):
        import supervision
    data: dict[str, Any] = {NAMES: np.array(instances.names, dtype=str)}
    if instances.ids is not None:
        data[IDS] = np.array(instances.ids, dtype=str)
    attributes = instances.attributes or ()
    for key in dict.fromkeys(key for values in attributes for key in values if key not in data):
        column = np.empty(len(instances), dtype=object)
        for index, values in enumerate(attributes):
            column[index] = values.get(key)  # one by one: numpy would make an array of lists
        data[key] = column
    masks = None
    if not len(instances) or any(mask is not None for mask in instances.masks):  # no masks, but the image's size
        masks = instances.stack()
    return supervision.Detections(
        xyxy=instances.boxes.copy(),
        mask=masks,
        confidence=None if instances.scores is None else instances.scores.copy(),
        class_id=instances.labels.copy(),
        data=data,
    )


def from_supervision(
    detections: supervision.Detections, class_names: Sequence[str] | None, *, size: tuple[int, int] | None
) -> Instances:
    """See `Instances.from_supervision`.

    Example:
        >>> cat = Instances((9, 9), [[0, 0, 4, 4]], [1], ("__background__", "cat"), [MaskCrop(0, 0, np.ones((4, 4), bool))])
        >>> from_supervision(to_supervision(cat), None, size=None)
        Instances(1 in 9 x 9: cat)
    """
    count = len(detections)
    masks: tuple[MaskCrop | None, ...] = (None,) * count
    if detections.mask is not None:  # an array, or supervision's compact masks: both give a frame for an index
        size = size or (int(detections.mask.shape[1]), int(detections.mask.shape[2]))
        masks = tuple(crop_of_frame(np.asarray(detections.mask[index], dtype=bool)) for index in range(count))
    if size is None:
        raise ValueError("without masks the image's size is unknown: pass size=(H, W)")
    data = {key: list(values) for key, values in detections.data.items()}
    labels, names = _labels(detections.class_id, data.pop(NAMES, None), class_names, count)
    ids = data.pop(IDS, None)
    return Instances(
        size=size,
        boxes=detections.xyxy,
        labels=labels,
        class_names=names,
        masks=masks,
        scores=detections.confidence,
        ids=None if ids is None else tuple(map(str, ids)),
        attributes=tuple(dict(zip(data, values)) for values in zip(*data.values())) if data else None,
    )


def _labels(
    class_ids: np.ndarray | None, names: list[Any] | None, class_names: Sequence[str] | None, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels, and the names that they are indices of."""
    if names is not None:
        named = [str(name) for name in names]
        if class_names is None:
            order = named if class_ids is None else [name for _, name in sorted(zip(class_ids.tolist(), named))]
            class_names = (BACKGROUND, *dict.fromkeys(name for name in order if name != BACKGROUND))
        label_of = {name: label for label, name in enumerate(class_names)}
        if unknown := [name for name in dict.fromkeys(named) if name not in label_of]:
            raise ValueError(f"the names {', '.join(unknown)} are not in class_names")
        return np.array([label_of[name] for name in named], dtype=np.int64), tuple(class_names)
    if class_names is None or (class_ids is None and count):
        raise ValueError("the detections have no class names: pass class_names, the background first, for their class_id")
    return np.zeros(0, dtype=np.int64) if class_ids is None else np.asarray(class_ids), tuple(class_names)
