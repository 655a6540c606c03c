"""VectorLabels: the curves that annotators draw, and paths without a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskbridge.adapter.coco import AnnotationError
from maskbridge.labelstudio.tags import VectorLabels

TAG = VectorLabels("label", "image", {"cat": "Cat"})


def path(vertices: list[dict[str, Any]], *, closed: bool = True) -> dict[str, Any]:
    value = {"vertices": vertices, "closed": closed, "vectorlabels": ["Cat"]}
    sizes = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    return {"id": "v", "type": "vectorlabels", "from_name": "label", "to_name": "image", "value": value, **sizes}


def test_curves_of_the_editor() -> None:
    """A circle of radius 40 as four Bezier curves, as design programs draw it: control points at 0.5523 of the radius."""
    bend = 40 * 0.5523
    ways = ((1, 0), (0, 1), (-1, 0), (0, -1))
    vertices = [
        {
            "id": str(number),
            "prevPointId": str(number - 1) if number else "",
            "isBezier": True,
            "x": 50 + 40 * x,
            "y": 50 + 40 * y,
            "controlPoint1": {"x": 50 + 40 * x + bend * y, "y": 50 + 40 * y - bend * x},
            "controlPoint2": {"x": 50 + 40 * x - bend * y, "y": 50 + 40 * y + bend * x},
        }
        for number, (x, y) in enumerate(ways)
    ]
    drawn = TAG.decode([path(vertices)]).frame(0)
    rows, columns = np.mgrid[0.5:100, 0.5:100]
    circle = (rows - 50) ** 2 + (columns - 50) ** 2 <= 40**2
    assert (drawn & circle).sum() / (drawn | circle).sum() > 0.99


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (path([{"id": "a", "x": 1, "y": 1}] * 3, closed=False), "not closed"),
        (
            path(
                [{"id": "a", "x": 1, "y": 1}, {"id": "b", "x": 9, "y": 1}, {"id": "c", "x": 9, "y": 9, "prevPointId": "a"}]
            ),
            "branches",
        ),
        (path([{"id": "a", "x": 1, "y": 1}]), "three points or more"),
        (path([{"id": "a", "x": "wide", "y": 1}] * 3), "malformed"),
        (path([{"id": "a", "x": float("nan"), "y": 1}] * 3), "region v"),
    ],
)
def test_paths_without_a_mask_are_named(region: dict[str, Any], reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        TAG.decode([region])
