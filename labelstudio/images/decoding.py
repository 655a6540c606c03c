"""Decodes the bytes of an image to a tensor; the number of pixels is checked before."""

from __future__ import annotations

import io

import torch
from PIL import Image

from maskbridge.adapter import ImageError, images
from maskbridge.labelstudio.errors import TaskImageError


def pixel_count(data: bytes, limit: int) -> int:
    """The number of pixels according to an image's header; 0 if the header cannot be read.

    Raises:
        TaskImageError: the image has more than ``limit`` pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=images.formats()) as header:
            pixels = header.width * header.height
    except Exception:  # `decode` reports what is wrong
        return 0
    if pixels > limit:
        raise TaskImageError("too_large", f"{pixels:,} pixels, more than the {limit:,} allowed")
    return pixels


def decode(data: bytes) -> torch.Tensor:
    """Decodes an image with `maskbridge.adapter.images.read`.

    Returns:
        uint8 [3, H, W] on the CPU, in RGB.

    Raises:
        TaskImageError: the bytes are not an image.

    Example:
        >>> decode(b"no image")
        Traceback (most recent call last):
        maskbridge.labelstudio.errors.TaskImageError: not an image in a supported format
    """
    try:
        return images.read(data)
    except ImageError as error:
        raise TaskImageError("image", str(error)) from None
