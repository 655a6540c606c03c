"""PolygonLabels: outlines of masks, in percent of the image's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskbridge.adapter.masks import MaskCrop
from maskbridge.adapter.polygons import from_polygons, has_holes, to_polygons
from maskbridge.labelstudio.tags.label_tag import LabelTag

MIN_AREA = 16
"""Pixels: smaller components of a mask are skipped, unless it has no larger one."""


class PolygonLabels(LabelTag):
    """A region for each component of a mask: a polygon along the pixels' edges, with as few points as an IoU of 0.95 needs.

    Label Studio's polygons have no holes. Holes are filled, and the region's ``meta`` text states it; BrushLabels and
    BitmaskLabels keep holes.
    """

    kind = "PolygonLabels"
    shape_key = "points"

    def _values(
        self, crop: MaskCrop | None, box: np.ndarray, size: tuple[int, int]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        if crop is None:
            return
        polygons = to_polygons(crop, max_points=0, min_area=MIN_AREA) or to_polygons(crop, max_points=0)[:1]
        extra = {"meta": {"text": ["holes of the mask are filled"]}} if polygons and has_holes(crop) else {}
        for polygon in polygons:
            points = np.clip(polygon / (size[1], size[0]) * 100, 0, 100)
            yield {"points": points.tolist(), "closed": True}, extra

    def _decode_value(self, value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Sequence[float], MaskCrop | None]:
        points = np.asarray(value["points"], dtype=np.float64).reshape(-1, 2) / 100 * (size[1], size[0])
        crop = from_polygons([points], size)
        return crop.box, crop
