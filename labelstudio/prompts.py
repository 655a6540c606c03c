"""What an annotator drew with a smart tool: boxes or points, and the tool's label."""

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
        box: x1, y1, x2, y2 as fractions of the image's size (0 to 1), or None for a point.
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
    """The rectangles and keypoints in a request's ``context``; regions that cannot be read are skipped.

    Example:
        >>> read_prompts(None, LabelConfig((), ()))
        []
    """
    drawn = context.get("result") if isinstance(context, Mapping) else None
    prompts = [_read(region, config) for region in drawn] if isinstance(drawn, Sequence) else []
    return [prompt for prompt in prompts if prompt is not None]


def _read(region: Any, config: LabelConfig) -> Prompt | None:
    if not isinstance(region, Mapping) or not isinstance(region.get("value"), Mapping):
        return None
    value, kind = region["value"], str(region.get("type", ""))
    control = next((c for c in config.controls if c.name == region.get("from_name")), None)
    to_name = region.get("to_name")
    if control is None or to_name not in control.to_names:
        return None
    item_index = region.get("item_index")
    labels = value.get(kind) or value.get("labels")
    label = labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None
    common = {
        "control": control,
        "to_name": to_name,
        "item_index": item_index if isinstance(item_index, int) else None,
        "label": label,
    }
    try:
        if kind.startswith("rectangle"):
            height, width = size_of(region)
            x1, y1, x2, y2 = box_of_rectangle(value, (height, width))
            box = (x1 / width, y1 / height, x2 / width, y2 / height)
            return Prompt(**common, box=box) if box[0] < box[2] and box[1] < box[3] else None
        if kind.startswith("keypoint"):
            point = (float(value["x"]) / 100, float(value["y"]) / 100)
            positive = region.get("is_positive", value.get("is_positive", 1)) not in (0, False, "0")
            return Prompt(**common, point=point, positive=positive) if all(map(math.isfinite, point)) else None
    except (KeyError, TypeError, ValueError, OverflowError):  # AnnotationError is a ValueError
        return None
    return None
