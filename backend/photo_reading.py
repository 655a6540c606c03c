"""The bytes of a photo to a tensor, its size looked at before it is decoded."""

from __future__ import annotations

import io

import torch
from PIL import Image

from maskbridge.adapter import ImageError, images
from maskbridge.backend.errors import PhotoError


def pixels_of(data: bytes, most: int) -> int:
    """How many pixels a photo's header says; 0 where it cannot be read.

    Raises:
        PhotoError: more than ``most``.
    """
    try:
        with Image.open(io.BytesIO(data), formats=images.formats()) as header:
            pixels = header.width * header.height
    except Exception:  # what is wrong with it is `read_photo`'s to say
        return 0
    if pixels > most:
        raise PhotoError("too_large", f"{pixels:,} pixels, more than the {most:,} allowed")
    return pixels


def read_photo(data: bytes) -> torch.Tensor:
    """The photo as `maskbridge.adapter.images.read` gives it.

    Raises:
        PhotoError: it is no photo.
    """
    try:
        return images.read(data)
    except ImageError as error:
        raise PhotoError("image", str(error)) from None
