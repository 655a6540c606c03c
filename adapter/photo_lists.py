"""Photos by the list: one alone is a list of one, a bad one is an error in its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch

from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import Photo, read
from maskbridge.adapter.instances import Instances


def listed(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """One photo or several as several."""
    single = isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, torch.Tensor))
    return [images] if single or hasattr(images, "getexif") else images  # type: ignore[list-item, return-value]


def read_each(images: Iterable[Photo], size: int) -> Iterator[list[torch.Tensor | ImageError]]:
    """Photos read in chunks of ``size``, when they are needed; a bad one is its error, which names its place."""
    photos = enumerate(images)
    while chunk := list(islice(photos, size)):
        yield [_read(index, photo) for index, photo in chunk]


def all_or_error(results: Iterable[Instances | ImageError]) -> list[Instances]:
    """Results of all photos, or the error of the first bad one raised."""
    found = []
    for result in results:
        if isinstance(result, ImageError):
            raise result
        found.append(result)
    return found


def _read(index: int, photo: Photo) -> torch.Tensor | ImageError:
    try:
        return read(photo)
    except ImageError as error:
        return ImageError(error.reason, index=index, path=error.path)
