"""VectorLabels: closed paths around masks, in percent of the image's size."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.masks import MaskCrop
from maskbridge.labelstudio.tags.polygon_labels import PolygonLabels

STEPS = 16
"""Straight pieces that a curve is drawn as."""


class VectorLabels(PolygonLabels):
    """A region for each component of a mask: the closed path of `PolygonLabels`. Curves are decoded too.

    The region's value is that of the editor's VectorRegion: ``vertices`` with ``id`` and ``prevPointId``, in the order of
    the path, and ``closed``.
    """

    kind = "VectorLabels"
    shape_key = "vertices"

    def _values(
        self, crop: MaskCrop | None, box: np.ndarray, size: tuple[int, int]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for value, extra in super()._values(crop, box, size):
            names = [uuid.uuid4().hex[:10] for _ in value["points"]]
            vertices = [
                {"id": name, "prevPointId": previous, "x": x, "y": y, "isBezier": False}
                for name, previous, (x, y) in zip(names, ["", *names], value["points"])
            ]
            yield {"vertices": vertices, "closed": True}, extra

    def _decode_value(self, value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Sequence[float], MaskCrop | None]:
        vertices = value["vertices"]
        if not value.get("closed"):
            raise AnnotationError("its path is not closed, so it has no mask")
        following = [*vertices[1:], *vertices[:1]]
        if any(after.get("prevPointId") not in (None, "", vertex.get("id")) for vertex, after in zip(vertices, following)):
            raise AnnotationError("its path has branches, so it has no mask")
        points = [point for vertex, after in zip(vertices, following) for point in _segment(vertex, after)]
        return super()._decode_value({"points": points}, size)


def _segment(start: Mapping[str, Any], end: Mapping[str, Any]) -> list[list[float]]:
    """The points of a segment without its end. A missing control point lies at 0.3 of the chord, as the editor draws it."""
    first, last = _point(start), _point(end)
    leaving = start.get("controlPoint2") if start.get("isBezier") else None
    arriving = end.get("controlPoint1") if end.get("isBezier") else None
    if leaving is None and arriving is None:
        return [first.tolist()]
    control1 = first + 0.3 * (last - first) if leaving is None else _point(leaving)
    control2 = last - 0.3 * (last - first) if arriving is None else _point(arriving)
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    curve = (1 - t) ** 3 * first + 3 * (1 - t) ** 2 * t * control1 + 3 * (1 - t) * t**2 * control2 + t**3 * last
    return [[float(x), float(y)] for x, y in curve]


def _point(vertex: Mapping[str, Any]) -> np.ndarray:
    return np.array([float(vertex["x"]), float(vertex["y"])])
