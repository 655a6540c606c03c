"""What a person drew with a smart tool: boxes or points, in pixels, and the label of the tool."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskbridge.backend.label_config import ControlTag, LabelConfig


@dataclass(frozen=True)
class Prompt:
    """One drawn region.

    Attributes:
        control: the smart tag that it was drawn with.
        to_name: the image tag that it was drawn on.
        place: which photo of a list, or None.
        label: as results carry it, None where the tool has none.
        box: x1, y1, x2, y2 in 0..1 of the photo, or None for a point.
        point: x, y in 0..1 of the photo, or None for a box.
        positive: whether the point is on the object (or, with the tool for it, off it).
    """

    control: ControlTag
    to_name: str
    place: int | None
    label: str | None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    positive: bool = True


def read_prompts(context: Mapping[str, Any] | None, config: LabelConfig) -> list[Prompt]:
    """The rectangles and keypoints in a request's ``context``; what cannot be understood is left out.

    Example:
        >>> read_prompts(None, LabelConfig((), ()))
        []
    """
    drawn = context.get("result") if isinstance(context, Mapping) else None
    found = [_read(region, config) for region in drawn] if isinstance(drawn, Sequence) else []
    return [prompt for prompt in found if prompt is not None]


def _read(region: Any, config: LabelConfig) -> Prompt | None:
    if not isinstance(region, Mapping) or not isinstance(region.get("value"), Mapping):
        return None
    value, kind = region["value"], str(region.get("type", ""))
    control = next((c for c in config.controls if c.name == region.get("from_name")), None)
    to_name = region.get("to_name")
    if control is None or to_name not in control.to_names:
        return None
    place = region.get("item_index")
    labels = value.get(kind) or value.get("labels")
    label = labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None
    common = {"control": control, "to_name": to_name, "place": place if isinstance(place, int) else None, "label": label}
    sides = _numbers(value, ("x", "y", "width", "height"))
    if kind.startswith("rectangle") and sides is not None:
        x, y, width, height = sides
        box = (max(x, 0.0), max(y, 0.0), min(x + width, 1.0), min(y + height, 1.0))
        return Prompt(**common, box=box) if box[0] < box[2] and box[1] < box[3] else None
    point = _numbers(value, ("x", "y"))
    if kind.startswith("keypoint") and point is not None:
        positive = region.get("is_positive", value.get("is_positive", 1))
        return Prompt(**common, point=(point[0], point[1]), positive=positive not in (0, False, "0"))
    return None


def _numbers(value: Mapping[str, Any], names: Sequence[str]) -> list[float] | None:
    """Percents as parts of 1; None unless all are finite numbers."""
    found = [value.get(name) for name in names]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in found):
        return None
    return [float(v) / 100 for v in found]  # type: ignore[arg-type]
