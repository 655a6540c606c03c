"""Masks to COCO's formats and back: run-length encoding (RLE), polygons and boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.masks import MaskCrop, crop_of_frame


class AnnotationError(MaskbridgeError, ValueError):
    """A label cannot be used: its mask, polygon or box is invalid."""


def encode_rle(crop: MaskCrop, size: tuple[int, int]) -> dict[str, Any]:
    """Encodes a crop as COCO's compressed RLE of the full frame, without building that frame.

    Returns:
        ``{"size": [H, W], "counts": str}``, ready for JSON; the same bytes as pycocotools' ``encode`` of the frame.

    Example:
        >>> encode_rle(MaskCrop(1, 0, np.ones((2, 1), dtype=bool)), (2, 3))
        {'size': [2, 3], 'counts': '222'}
    """
    height, width = size
    # COCO's runs follow the columns: they are the row runs of the transposed mask.
    counts = MaskCrop(crop.y, crop.x, crop.pixels.T).run_lengths((width, height))
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    rle = coco_mask.frPyObjects({"counts": counts.tolist(), "size": [height, width]}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any], size: tuple[int, int]) -> MaskCrop:
    """Decodes a COCO RLE, compressed (a string) or not (a list of counts), to a trimmed crop.

    Raises:
        AnnotationError: it is malformed, or its size is not ``size``.
    """
    height, width = size
    rle_size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(rle_size, Sequence) or list(rle_size) != [height, width]:
        raise AnnotationError(f"the mask is for an image of (height, width) {rle_size}, not {[height, width]}")
    if isinstance(counts, (list, tuple, np.ndarray)):
        runs = np.asarray(counts)
        if runs.ndim != 1 or not np.issubdtype(runs.dtype, np.integer) or (runs < 0).any() or runs.sum() != height * width:
            raise AnnotationError("the counts of an RLE must be whole numbers that add up to height times width")
        return crop_of_frame(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T)
    if not isinstance(counts, (str, bytes)):
        raise AnnotationError(f"the counts of an RLE are a list or a string, not {type(counts).__name__}")
    return crop_of_frame(np.repeat(*_decode_counts(counts, height * width)).reshape(width, height).T)


def _decode_counts(counts: str | bytes, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and lengths of a compressed RLE's runs, validated: pycocotools does not, and reads past the string's end."""
    data = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    bits = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if (
        not len(bits)
        or bits.min() < 0
        or bits.max() > 63
        or not len(ends)
        or ends[-1] != len(bits) - 1
        or digits.max() > 12
    ):
        raise AnnotationError("the counts of the RLE are not in COCO's alphabet")
    # Each number has digits of five bits, the lowest first, and is negative if the highest bit of its last digit is set.
    # From the fourth number on, it is the difference from the number two before it.
    lengths = np.add.reduceat((bits & 31) << 5 * (np.arange(len(bits)) - np.repeat(starts, digits)), starts)
    lengths -= np.where(bits[ends] & 16, 1 << 5 * digits, 0)
    if np.abs(lengths).max() <= total:  # larger values are invalid, and would overflow the sums
        lengths[1::2], lengths[2::2] = np.cumsum(lengths[1::2]), np.cumsum(lengths[2::2])
    if lengths.min() < 0 or lengths.max() > total or lengths.sum() != total:
        raise AnnotationError("the counts of the RLE must add up to height times width")
    return np.arange(len(lengths)) % 2 == 1, lengths


def decode_polygons(polygons: Iterable[Sequence[float]], size: tuple[int, int]) -> MaskCrop:
    """Decodes the COCO polygons of one object (flat lists x, y, x, y, … in pixels) to a crop.

    Raises:
        AnnotationError: a polygon has fewer than three points, or a coordinate that is not a finite number.
    """
    outlines = [_clipped(polygon, size) for polygon in _polygons(polygons)]
    if not outlines:
        raise AnnotationError("the polygon list is empty")
    merged = _merge(outlines, size)
    x, y, w, h = (int(value) for value in coco_mask.toBbox(merged))
    return MaskCrop(x, y, coco_mask.decode(merged)[y : y + h, x : x + w].astype(bool))


@dataclass(frozen=True)
class Segmentation:
    """A COCO ``segmentation``, read.

    Attributes:
        rle: the mask, in the format of `encode_rle`; None if there is none.
        invalid_parts: why a polygon of it cannot be used.
    """

    rle: dict[str, Any] | None
    invalid_parts: tuple[str, ...] = ()


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> Segmentation:
    """Reads a COCO ``segmentation`` (polygons or an RLE), where possible without decoding it. An invalid polygon costs
    only itself.

    Raises:
        AnnotationError: it is neither a list of polygons nor an RLE, or the RLE is invalid (see `decode_rle`).

    Example:
        >>> read_segmentation([[1, 0, 2, 0, 2, 2, 1, 2], [0, 0, 1, 1]], (2, 3)).rle
        {'size': [2, 3], 'counts': '222'}
    """
    if not segmentation:
        return Segmentation(None)
    height, width = size
    if not isinstance(segmentation, Mapping):
        outlines, invalid = [], []
        for polygon in _polygons(segmentation):
            try:
                outlines.append(_clipped(polygon, size))
            except AnnotationError as error:
                invalid.append(str(error))
        rle = {"size": [height, width], "counts": _merge(outlines, size)["counts"].decode("ascii")} if outlines else None
        return Segmentation(rle, tuple(invalid))
    counts = segmentation.get("counts")
    if isinstance(counts, (str, bytes)) and segmentation.get("size") == [height, width]:
        _decode_counts(counts, height * width)
        return Segmentation(
            {"size": [height, width], "counts": counts if isinstance(counts, str) else counts.decode("ascii")}
        )
    return Segmentation(encode_rle(decode_rle(segmentation, size), size))


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> MaskCrop | None:
    """Decodes a COCO ``segmentation`` (polygons or an RLE) to a crop; None if it is empty or None.

    Raises:
        AnnotationError: as in `decode_polygons` and `decode_rle`.
    """
    if not segmentation:
        return None
    return decode_rle(segmentation, size) if isinstance(segmentation, Mapping) else decode_polygons(segmentation, size)


def corners_of(box: Any, mask: MaskCrop | None) -> list[float]:
    """A COCO ``bbox`` as xyxy; if it is None, the box of the mask.

    Raises:
        AnnotationError: it is not four finite numbers.
    """
    if box is None and mask is not None:
        return list(mask.box)
    x, y, width, height = box_of(box)
    return [x, y, x + width, y + height]


def box_of(box: Any) -> list[float]:
    """Validates a COCO ``bbox``: x, y, width, height in pixels.

    Raises:
        AnnotationError: it is not four finite numbers.
    """
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        raise AnnotationError(f"a box is four numbers x, y, width, height, not {box!r}") from None
    if not np.isfinite([x, y, width, height]).all():
        raise AnnotationError(f"a box is four finite numbers, not {box!r}")
    return [x, y, width, height]


def _polygons(polygons: Any) -> list[Any]:
    """The polygons of one object; those without any point are ignored."""
    if not isinstance(polygons, Iterable) or isinstance(polygons, (str, bytes)):
        raise AnnotationError(f"a segmentation is a list of polygons or an RLE, not {type(polygons).__name__}")
    polygons = list(polygons)
    if polygons and all(isinstance(value, (int, float)) for value in polygons):
        return [polygons]  # one polygon that is not in a list
    return [polygon for polygon in polygons if not (isinstance(polygon, Sequence) and len(polygon) == 0)]


def _clipped(polygon: Any, size: tuple[int, int]) -> list[float]:
    """A valid polygon, clipped so that points far outside the image do not cost the rasterizer time and memory."""
    height, width = size
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        raise AnnotationError("a polygon is a flat list of numbers x, y, x, y, …") from None
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise AnnotationError("a polygon needs three points or more, as finite numbers x, y, x, y, …")
    return points.reshape(-1, 2).clip([-width, -height], [2 * width, 2 * height]).ravel().tolist()


def _merge(outlines: list[list[float]], size: tuple[int, int]) -> dict[str, Any]:
    """Rasterizes and merges polygons to pycocotools' compressed RLE."""
    return dict(coco_mask.merge(coco_mask.frPyObjects(outlines, *size)))


def polygon_iou(polygon: np.ndarray, mask: np.ndarray) -> float:
    """IoU of a polygon ([K, 2] points xy, in pixels of ``mask``) with a mask ([h, w]), by COCO's rasterizer."""
    height, width = mask.shape
    rle = coco_mask.frPyObjects([polygon.ravel().tolist()], height, width)
    return float(coco_mask.iou(rle, [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))], [0])[0, 0])
