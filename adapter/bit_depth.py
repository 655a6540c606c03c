"""Images of more than 8 bits, scaled to 8 by the depth that their file states."""

from __future__ import annotations

import logging
import struct
from typing import Any

import cv2
import numpy as np
from PIL import Image

log = logging.getLogger(__name__)

_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE = 258, 281, 341  # tags of TIFF 6.0
_FULL = 65535


def stated_maximum(image: Image.Image) -> int | None:
    """The largest sample value that the file of an image of 16 bits states, below 65,535: by ``sBIT`` of a PNG,
    ``MaxSampleValue``, ``SMaxSampleValue`` or ``BitsPerSample`` of a TIFF. None if it states none, or is of 8 bits.

    Call it before ``image.load``, which closes the file.

    Example:
        >>> stated_maximum(Image.new("RGB", (2, 2))) is None
        True
    """
    if not is_deep(image):
        return None
    stated: list[Any] = []
    if image.format == "PNG":
        stated = [(1 << bits) - 1 for bits in _significant_bits(image)]
    elif image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        stated = [tags.get(_MAX_SAMPLE_VALUE), tags.get(_S_MAX_SAMPLE_VALUE)]
        bits = max(tags.get(_BITS_PER_SAMPLE) or (16,))
        stated += [(1 << bits) - 1]
    values = [value for part in stated for value in (part if isinstance(part, tuple) else (part,))]
    numbers = [int(value) for value in values if isinstance(value, (int, float)) and 255 < value < _FULL]
    return max(numbers, default=None)


def is_deep(image: Image.Image) -> bool:
    """Whether an image that Pillow has opened is stored with 16 bits for a sample."""
    return image.mode == "I" or image.mode.startswith("I;16") or ";16" in str(getattr(image, "tile", ""))


def read_deep_colors(image: Image.Image, maximum: int) -> Image.Image:
    """An opened color image of 16 bits, scaled to 8; Pillow alone would keep the upper 8 bits.

    Raises:
        ValueError: OpenCV cannot read the file.
    """
    file = getattr(image, "fp")  # noqa: B009 of an opened file; Pillow's types hide it
    file.seek(0)
    encoded = np.frombuffer(file.read(), dtype=np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ValueError("its 16-bit colors cannot be read")
    scaled = Image.fromarray(to_8_bits(pixels[:, :, 2::-1], maximum, None))
    scaled.info["exif"] = image.getexif().tobytes()  # of a PNG this loads the image, which closes the file
    return scaled


def to_8_bits(values: np.ndarray, maximum: int | None, path: str | None) -> np.ndarray:
    """Samples of 16 bits as uint8. Without a stated maximum, an image that comes out nearly black is logged.

    A value above the stated maximum shows that the samples are of the full range, as PNG's specification wants them.

    Example:
        >>> to_8_bits(np.array([0, 2048, 4095]), 4095, None)
        array([  0, 128, 255], dtype=uint8)
        >>> to_8_bits(np.array([0, 32768, 65535]), None, None)
        array([  0, 128, 255], dtype=uint8)
    """
    highest = int(values.max(initial=0))
    if maximum is not None and highest <= maximum:
        return np.rint(values.astype(np.float32) * (255 / maximum)).astype(np.uint8)
    if maximum is None and path is not None:
        warn_if_dark(highest, _FULL, path)
    return ((values.astype(np.int64) + 128) // 257).astype(np.uint8)


def warn_if_dark(highest: int, full: int, path: str) -> None:
    """Logs that a 16-bit image whose file states no depth is nearly black: it may have only 10 or 12 bits."""
    if 0 < highest <= full // 16:
        log.warning(
            "%s: nearly black: its largest value is %d of %d, and the file states no depth (a PNG's sBIT, a TIFF's "
            "MaxSampleValue); images of 10 or 12 bits need it",
            path,
            highest,
            full,
        )


def _significant_bits(image: Image.Image) -> list[int]:
    """The ``sBIT`` chunk of a PNG, which Pillow does not read: the significant bits of each channel."""
    file = getattr(image, "fp", None)
    if file is None:
        return []
    position = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"sBIT":
                return [bits for bits in file.read(min(length, 4)) if 8 < bits < 16]
            if kind == b"IDAT":
                break
            file.seek(length + 4, 1)
        return []
    finally:
        file.seek(position)
