"""The bytes of an image to a tensor, its size checked before it is decoded."""

from __future__ import annotations

import io

import torch
from PIL import Image

from maskbridge.adapter import ImageError, images
from maskbridge.labelstudio.errors import TaskImageError


def pixel_count(data: bytes, limit: int) -> int:
    """How many pixels an image's header says; 0 where it cannot be read.

    Raises:
        TaskImageError: more than ``limit``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=images.formats()) as header:
            pixels = header.width * header.height
    except Exception:  # what is wrong with it is for `decode` to say
        return 0
    if pixels > limit:
        raise TaskImageError("too_large", f"{pixels:,} pixels, more than the {limit:,} allowed")
    return pixels


def decode(data: bytes) -> torch.Tensor:
    """The image as `maskbridge.adapter.images.read` gives it.

    Raises:
        TaskImageError: it is not an image.
    """
    try:
        return images.read(data)
    except ImageError as error:
        raise TaskImageError("image", str(error)) from None
