"""Label Studio's label tags: instances to regions and back, one class for each tag."""

from __future__ import annotations

from maskbridge.backend.tags.bitmask_labels import BitmaskLabels
from maskbridge.backend.tags.brush_labels import BrushLabels
from maskbridge.backend.tags.label_tag import LabelTag, Region
from maskbridge.backend.tags.polygon_labels import PolygonLabels
from maskbridge.backend.tags.rectangle_labels import RectangleLabels

__all__ = ["TAGS", "BitmaskLabels", "BrushLabels", "LabelTag", "PolygonLabels", "RectangleLabels", "Region"]

TAGS: tuple[type[LabelTag], ...] = (BrushLabels, BitmaskLabels, PolygonLabels, RectangleLabels)
"""Every tag that is understood; a new one is a new file and a place here. A click is answered in the first that fits."""
