"""BrushLabels: masks as run lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maskbridge.adapter.masks import MaskCrop
from maskbridge.labelstudio.tags import rle
from maskbridge.labelstudio.tags.label_tag import LabelTag


class BrushLabels(LabelTag):
    """The mask, pixel for pixel, in the run lengths of Label Studio's brush (see `maskbridge.labelstudio.tags.rle`)."""

    kind = "BrushLabels"
    shape_key = "rle"

    def _values(
        self, crop: MaskCrop | None, box: np.ndarray, size: tuple[int, int]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        if crop is not None and crop.pixels.any():
            yield {"format": "rle", "rle": list(rle.encode(crop, size))}, {}

    def _decode_value(self, value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Sequence[float], MaskCrop | None]:
        crop = rle.decode(bytes(value["rle"]), size)
        return crop.box, crop
