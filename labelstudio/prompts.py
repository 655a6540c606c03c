"""What an annotator drew with a smart tool: boxes, shapes or points, and the tool's label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskbridge.labelstudio.label_config import ControlTag, LabelConfig
from maskbridge.labelstudio.tags.label_tag import size_of
from maskbridge.labelstudio.tags.rectangle_labels import box_of_rectangle


@dataclass(frozen=True)
class Prompt:
    """One region drawn with a smart tool.

    Attributes:
        control: the control tag that it was drawn with.
        to_name: the name of the image tag that it was drawn on.
        item_index: the image's index if the image tag shows a list, else None.
        label: the tool's label as results carry it, or None.
        box: x1, y1, x2, y2 as fractions of the image's size (0 to 1), of a rectangle or around another shape; None for a
            point.
        point: x, y as fractions of the image's size (0 to 1), or None for a box.
        positive: True for a point on the object, False for a point that the object must not contain.
    """

    control: ControlTag
    to_name: str
    item_index: int | None
    label: str | None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    positive: bool = True


def read_prompts(context: Mapping[str, Any] | None, config: LabelConfig) -> list[Prompt]:
    """The rectangles, ellipses, polygons and keypoints in a request's ``context``; what cannot be read is skipped.

    Example:
        >>> read_prompts(None, LabelConfig((), ()))
        []
    """
    drawn = context.get("result") if isinstance(context, Mapping) else None
    regions = [region for region in drawn if isinstance(region, Mapping)] if isinstance(drawn, Sequence) else []
    labels = {str(region.get("id")): _label(region) for region in regions if region.get("type") == "labels"}
    prompts = [_read(region, config, labels.get(str(region.get("id")))) for region in regions]
    return [prompt for prompt in prompts if prompt is not None]


def _label(region: Mapping[str, Any]) -> str | None:
    """The label in a region's value."""
    value = region.get("value")
    labels = (value.get(str(region.get("type"))) or value.get("labels")) if isinstance(value, Mapping) else None
    return labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None


def _read(region: Mapping[str, Any], config: LabelConfig, generic_label: str | None) -> Prompt | None:
    """A region as a prompt. A generic one, such as of a ``<Rectangle>``, has its label in another region with its id."""
    value, kind = region.get("value"), str(region.get("type", ""))
    control = next((c for c in config.controls if c.name == region.get("from_name")), None)
    to_name = region.get("to_name")
    if not isinstance(value, Mapping) or control is None or to_name not in control.to_names:
        return None
    item_index = region.get("item_index")
    common = {
        "control": control,
        "to_name": to_name,
        "item_index": item_index if isinstance(item_index, int) else None,
        "label": _label(region) or generic_label,
    }
    try:
        if kind.startswith("keypoint"):
            point = (float(value["x"]) / 100, float(value["y"]) / 100)
            positive = region.get("is_positive", value.get("is_positive", 1)) not in (0, False, "0")
            return Prompt(**common, point=point, positive=positive) if all(map(math.isfinite, point)) else None
        height, width = size_of(region)
        around = next((shape for name, shape in _BOXES.items() if kind.startswith(name)), None)
        if around is None:
            return None
        x1, y1, x2, y2 = around(value, (height, width))
        box = (x1 / width, y1 / height, x2 / width, y2 / height)
        return Prompt(**common, box=box) if box[0] < box[2] and box[1] < box[3] else None
    except (KeyError, TypeError, ValueError, OverflowError):  # AnnotationError is a ValueError
        return None


def _box_of_ellipse(value: Mapping[str, Any], size: tuple[int, int]) -> Sequence[float]:
    """The box (xyxy in pixels) around an ellipse, which may be rotated about its center, clipped to the image."""
    height, width = size
    x, rx = float(value["x"]) / 100 * width, float(value["radiusX"]) / 100 * width
    y, ry = float(value["y"]) / 100 * height, float(value["radiusY"]) / 100 * height
    angle = math.radians(float(value.get("rotation") or 0))
    dx = math.hypot(rx * math.cos(angle), ry * math.sin(angle))
    dy = math.hypot(rx * math.sin(angle), ry * math.cos(angle))
    return _clipped([(x - dx, y - dy), (x + dx, y + dy)], size)


def _box_of_polygon(value: Mapping[str, Any], size: tuple[int, int]) -> Sequence[float]:
    """The box (xyxy in pixels) around a polygon, clipped to the image."""
    height, width = size
    return _clipped([(float(x) / 100 * width, float(y) / 100 * height) for x, y in value["points"]], size)


def _clipped(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> Sequence[float]:
    if not all(math.isfinite(side) for point in points for side in point):
        raise ValueError("not finite")
    xs, ys = zip(*points)
    return max(min(xs), 0), max(min(ys), 0), min(max(xs), size[1]), min(max(ys), size[0])


_BOXES = {"rectangle": box_of_rectangle, "ellipse": _box_of_ellipse, "polygon": _box_of_polygon}
"""The box around a drawn shape, by how the type of its region begins."""
