"""Instances to FiftyOne's labels and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId

from maskbridge.adapter import Instances, MaskCrop, polygons
from maskbridge.adapter.instances import BACKGROUND

Window = tuple[int, int, int, int]


def window_of(bounding_box: Sequence[float], size: tuple[int, int]) -> Window:
    """The window of whole pixels (x1, y1, x2, y2) that FiftyOne reads a relative box as, in an image of ``size`` (H, W).

    FiftyOne adds the box's width to its left edge, clips both edges to 0..1, multiplies by the image's width and truncates
    (``fiftyone.utils.eta``, ``eta.core.geometry``). A window may be empty.

    Example:
        >>> window_of([0.1, 0.0, 0.25, 1.0], (10, 10))
        (1, 0, 3, 10)
    """
    x, y, width, height = (float(value) for value in bounding_box)
    edges = (max(0, min(edge, 1)) for edge in (x, y, x + width, y + height))
    return tuple(int(scale * 1.0 * edge) for scale, edge in zip((size[1], size[0]) * 2, edges))  # type: ignore[return-value]


def to_detections(instances: Instances) -> fo.Detections:
    """Instances as FiftyOne's detections: label, confidence, relative box, mask, and ids and attributes if present.

    An id that is not one of FiftyOne's (24 hex digits) is stored as the attribute `SOURCE_ID` and converted back.
    The float box is kept. The mask is cut to the window of whole pixels that FiftyOne will read that box as, so its
    ``to_segmentation`` and the App show the adapter's pixels. Where that window is empty (a box thinner than a pixel) the
    mask is one pixel wide or high and False: it renders as nothing.
    """
    height, width = instances.size
    labels = []
    for index, (x1, y1, x2, y2) in enumerate(instances.boxes.astype(np.float64).tolist()):
        box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
        crop = instances.masks[index]
        mask = None if crop is None else crop.window(*window_of(box, instances.size))
        if mask is not None and not mask.size:
            mask = np.zeros((max(mask.shape[0], 1), max(mask.shape[1], 1)), dtype=bool)
        labels.append(fo.Detection(bounding_box=box, mask=mask, **_common(instances, index)))
    return fo.Detections(detections=labels)


def from_detections(
    detections: fo.Detections | Iterable[fo.Detection] | None,
    size: tuple[int, int],
    class_names: Sequence[str] | None = None,
) -> Instances:
    """FiftyOne's detections as instances, the inverse of `to_detections`.

    Args:
        detections: masks may be in the database or on disk, or missing (then the crop is None). None means no objects.
        size: (H, W) of the image.
        class_names: the names of the classes; names of labels that are missing from it are appended. By default the
            names of the labels, background first.
    """
    items = list(getattr(detections, "detections", detections) or ())
    height, width = size
    boxes = [[x * width, y * height, (x + w) * width, (y + h) * height] for x, y, w, h in (d.bounding_box for d in items)]
    masks = [_crop(detection, size) for detection in items]
    return _instances(items, boxes, masks, size, class_names)


def to_polylines(instances: Instances, **limits: Any) -> fo.Polylines:
    """Instances as FiftyOne's filled polylines, one for each object with a mask that is not empty; holes are filled.

    Args:
        instances: the objects of one image.
        **limits: ``max_points``, ``min_iou`` of `maskbridge.adapter.polygons.to_polygons`.
    """
    scale = np.array([instances.size[1], instances.size[0]], dtype=np.float64)
    labels = []
    for index, rings in enumerate(instances.to_polygons(**limits)):
        points = [[(x, y) for x, y in (ring / scale).tolist()] for ring in rings]
        if points:
            labels.append(fo.Polyline(points=points, closed=True, filled=True, **_common(instances, index)))
    return fo.Polylines(polylines=labels)


def from_polylines(
    polylines: fo.Polylines | Iterable[fo.Polyline] | None,
    size: tuple[int, int],
    class_names: Sequence[str] | None = None,
) -> Instances:
    """FiftyOne's polylines as instances; open shapes, and those of fewer than three points, have no mask."""
    items = list(getattr(polylines, "polylines", polylines) or ())
    scale = np.array([size[1], size[0]], dtype=np.float64)
    boxes, masks = [], []
    for polyline in items:
        rings = [np.asarray(shape, dtype=np.float64).reshape(-1, 2) * scale for shape in polyline.points]
        points = np.concatenate(rings) if rings else np.zeros((1, 2))
        boxes.append([*points.min(axis=0), *points.max(axis=0)])
        is_outline = polyline.filled or polyline.closed
        filled = [ring for ring in rings if len(ring) >= 3] if is_outline else []
        masks.append(polygons.from_polygons(filled, size) if filled else None)
    return _instances(items, boxes, masks, size, class_names)


SOURCE_ID = "source_id"
"""The attribute that holds the id of another tool."""
_OWN_FIELDS = {"label", "confidence", "bounding_box", "mask", "mask_path", "points", "closed", "filled"}


def _common(instances: Instances, index: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if instances.attributes is not None:
        values |= {name: value for name, value in instances.attributes[index].items() if name not in _OWN_FIELDS}
    if instances.ids is not None:
        values["id" if ObjectId.is_valid(instances.ids[index]) else SOURCE_ID] = instances.ids[index]
    if instances.scores is not None:
        values["confidence"] = float(instances.scores[index])
    return values | {"label": instances.class_names[instances.labels[index]]}


def _instances(
    items: Sequence[Any],
    boxes: Sequence[Sequence[float]],
    masks: Sequence[MaskCrop | None],
    size: tuple[int, int],
    class_names: Sequence[str] | None,
) -> Instances:
    names = list(class_names or (BACKGROUND,))
    names += sorted({label.label or "" for label in items} - set(names))
    label_of = {name: index for index, name in enumerate(names)}
    scores = [label.confidence for label in items]
    return Instances(
        size=size,
        boxes=np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.asarray([label_of[label.label or ""] for label in items], dtype=np.int64),
        class_names=tuple(names),
        masks=tuple(masks),
        scores=np.asarray(scores, dtype=np.float32) if scores and None not in scores else None,
        ids=tuple(str(label[SOURCE_ID]) if label.has_field(SOURCE_ID) else label.id for label in items),
        attributes=tuple(_attributes(label) for label in items),
    )


def _attributes(label: Any) -> Mapping[str, Any]:
    """All attributes of a label that `Instances` has no field for."""
    values = {name: label[name] for name in label.field_names if name not in _OWN_FIELDS | {"id", SOURCE_ID}}
    return {name: value for name, value in values.items() if value is not None and value != {} and value != []}


def _crop(detection: fo.Detection, size: tuple[int, int]) -> MaskCrop | None:
    mask = detection.get_mask()
    if mask is None:
        return None
    x1, y1, x2, y2 = window_of(detection.bounding_box, size)
    mask = np.asarray(mask) != 0
    mask = mask.any(axis=2) if mask.ndim == 3 else mask
    if mask.shape != (y2 - y1, x2 - x1):
        mask = _resized(mask, max(x2 - x1, 0), max(y2 - y1, 0))
    return MaskCrop(x1, y1, mask)


def _resized(mask: Any, width: int, height: int) -> np.ndarray:
    """Resizes a mask to its window as FiftyOne does: other tools' masks may be larger or smaller."""
    from eta.core.image import resize

    return resize(mask.astype(np.uint8), width=width, height=height).astype(bool)
