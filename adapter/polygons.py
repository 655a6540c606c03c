"""Masks to polygons and back; polygons run along pixel edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from maskbridge.adapter.coco import decode_polygons, polygon_iou
from maskbridge.adapter.masks import MaskCrop

MIN_IOU = 0.95
MAX_POINTS = 250


def to_polygons(
    crop: MaskCrop, *, max_points: int = MAX_POINTS, min_iou: float = MIN_IOU, min_area: int = 1
) -> list[np.ndarray]:
    """Converts a mask to polygons, one for each of its connected parts, largest first.

    Polygons run along pixel edges (a mask of one pixel gives a square of side 1), not through pixel centers as OpenCV's
    contours do. Holes are filled, since a polygon has none. Each polygon is simplified (Douglas-Peucker) to at most
    ``max_points`` points, unless its IoU with its part (holes filled) would be below ``min_iou``: then it has more points.
    ``max_points=0`` gives the fewest points that reach ``min_iou``.

    Args:
        crop: the mask.
        max_points: maximum number of points of a polygon, if ``min_iou`` allows it.
        min_iou: minimum IoU of a polygon with its part, 0 to 1, measured with COCO's rasterizer.
        min_area: parts with fewer pixels (holes filled) are skipped.

    Returns:
        float64 [K, 2] arrays of points (x, y) in pixels of the image; the first point is not repeated at the end.

    Example:
        >>> to_polygons(MaskCrop(10, 20, np.ones((2, 3), dtype=bool)))[0].tolist()
        [[10.0, 20.0], [10.0, 22.0], [13.0, 22.0], [13.0, 20.0]]
    """
    by_area = []
    for part, x, y in _filled_parts(crop.pixels):
        area = int(np.count_nonzero(part))
        if area >= min_area:
            offset = np.array([crop.x + x, crop.y + y])
            by_area.append((area, _simplify(part, max_points, min_iou) + offset))
    return [polygon for _, polygon in sorted(by_area, key=lambda pair: -pair[0])]


def from_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> MaskCrop:
    """Converts the polygons of one object ([K, 2] points xy, in pixels) to a mask clipped to ``size`` (COCO's rasterizer).

    Raises:
        AnnotationError: a polygon has fewer than three points, or a coordinate that is not a finite number.
    """
    return decode_polygons([np.asarray(polygon, dtype=np.float64).ravel().tolist() for polygon in polygons], size)


def has_holes(crop: MaskCrop) -> bool:
    """Whether the mask has a hole, which `to_polygons` fills."""
    _, hierarchy = cv2.findContours(crop.pixels.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return hierarchy is not None and bool((hierarchy[0, :, 3] >= 0).any())


def _filled_parts(pixels: np.ndarray) -> list[tuple[np.ndarray, int, int]]:
    """The connected parts of a mask, holes filled: for each a bool window and its x and y."""
    parts = []
    contours, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        window = np.zeros((height, width), dtype=np.uint8)
        cv2.drawContours(window, [contour], 0, 1, cv2.FILLED, offset=(-x, -y))
        parts.append((window.astype(bool), x, y))
    return parts


def _outline(part: np.ndarray) -> np.ndarray:
    """The contour of a connected part along its pixel edges, in half pixels: int32 [K, 1, 2].

    OpenCV's contours run through pixel centers. In a mask of twice the size plus one pixel, the centers of the outermost
    pixels are on the edges of the original pixels.
    """
    doubled = cv2.resize(part.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    doubled = cv2.copyMakeBorder(doubled, top=0, bottom=1, left=0, right=1, borderType=cv2.BORDER_CONSTANT, value=0)
    enlarged = cv2.dilate(doubled, np.ones((2, 2), dtype=np.uint8), anchor=(1, 1))
    contours, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return max(contours, key=cv2.contourArea)


def _simplify(part: np.ndarray, max_points: int, min_iou: float) -> np.ndarray:
    outline = _outline(part)

    def polygon(tolerance: float) -> np.ndarray:
        simple = cv2.approxPolyDP(outline, tolerance, True) if tolerance else outline
        return simple[:, 0].astype(np.float64) / 2

    # With growing tolerance, the number of points and (nearly always) the IoU decrease: take the first polygon with at most
    # max_points if its IoU suffices, else the coarsest polygon whose IoU does.
    tolerances = np.concatenate([[0], np.geomspace(0.5, max(4.0, 0.25 * max(part.shape)), 24)])
    if max_points >= 3:
        within = next((p for p in map(polygon, tolerances) if len(p) <= max_points), None)
        if within is not None and len(within) >= 3 and polygon_iou(within, part) >= min_iou:
            return within
    best, low, high = polygon(0), 0, len(tolerances)
    while high - low > 1:
        middle = (low + high) // 2
        candidate = polygon(tolerances[middle])
        if len(candidate) >= 3 and polygon_iou(candidate, part) >= min_iou:
            best, low = candidate, middle
        else:
            high = middle
    return best
