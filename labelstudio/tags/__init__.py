"""Label Studio's label tags: instances to regions and back, one class for each tag."""

from __future__ import annotations

from maskbridge.labelstudio.tags.bitmask_labels import BitmaskLabels
from maskbridge.labelstudio.tags.brush_labels import BrushLabels
from maskbridge.labelstudio.tags.choices import Choices
from maskbridge.labelstudio.tags.filled_tag import FilledTag, Region
from maskbridge.labelstudio.tags.label_tag import LabelTag
from maskbridge.labelstudio.tags.polygon_labels import PolygonLabels
from maskbridge.labelstudio.tags.rectangle_labels import RectangleLabels
from maskbridge.labelstudio.tags.vector_labels import VectorLabels

__all__ = [
    "TAGS",
    "BitmaskLabels",
    "BrushLabels",
    "Choices",
    "FilledTag",
    "LabelTag",
    "PolygonLabels",
    "RectangleLabels",
    "Region",
    "VectorLabels",
]

TAGS: tuple[type[LabelTag], ...] = (BrushLabels, BitmaskLabels, PolygonLabels, VectorLabels, RectangleLabels)
"""All tags for regions; a new one is a new file and an entry here. Smart tools are answered in the first that fits."""
