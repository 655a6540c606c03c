"""Which images of a labeled dataset can be read, and have the size that their labels are for."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, LabeledImage, SkippedImage
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import read, read_size


def readable(labeled: LabeledDataset, *, decode: bool = True) -> Generator[int, None, LabeledDataset]:
    """The images that can be used: an iterator over the number of images done. The others are in ``skipped_images``.

    Args:
        labeled: labeled images.
        decode: whether all pixels are read; if not, only the headers of files are.

    Example:
        >>> import numpy as np
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.long_jobs import run_to_end
        >>> cat = Instances((2, 3), [[0, 0, 3, 2]], [1], ("__background__", "cat"), [None])
        >>> images = labeled_images([(np.zeros((3, 2, 3), dtype=np.uint8), cat)])
        >>> run_to_end(readable(images)).skipped_images[0].reason
        'it is 2 x 3 pixels, its labels are for 3 x 2: it was turned by a quarter, maybe by its EXIF orientation'
    """
    problem = _problem_of(_decoded_size if decode else _header_size)
    usable, skipped = [], list(labeled.skipped_images)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="read") as workers:
        try:
            for done, (image, reason) in enumerate(zip(labeled, workers.map(problem, labeled)), start=1):
                if reason is None:
                    usable.append(image)
                else:
                    skipped.append(SkippedImage(image.name, reason, len(image)))
                yield done
        finally:
            workers.shutdown(cancel_futures=True)
    return replace(labeled, images=tuple(usable), skipped_images=tuple(skipped))


def refuse_skipped_images(labeled: LabeledDataset) -> None:
    """Raises a `DataError` that names the images that were skipped, if there are any."""
    if skipped := labeled.skipped_images:
        shown = "; ".join(f"{image.name}: {image.reason}" for image in skipped[:5]) + ("; …" if len(skipped) > 5 else "")
        raise DataError(f"{len(skipped)} images cannot be used: {shown}")


def size_problem(size: tuple[int, int], labels_size: tuple[int, int]) -> str | None:
    """Why labels for an image of one size (H, W) are not for an image of another; None if the sizes are equal.

    Example:
        >>> size_problem((20, 30), (10, 30))
        'it is 30 x 20 pixels, its labels are for 30 x 10'
    """
    if size == labels_size:
        return None
    turned = ": it was turned by a quarter, maybe by its EXIF orientation" if size == labels_size[::-1] else ""
    return f"it is {size[1]} x {size[0]} pixels, its labels are for {labels_size[1]} x {labels_size[0]}{turned}"


def _problem_of(size_of: Callable[[LabeledImage], tuple[int, int]]) -> Callable[[LabeledImage], str | None]:
    def problem(image: LabeledImage) -> str | None:
        try:
            return size_problem(size_of(image), image.size)
        except ImageError as error:
            return error.reason

    return problem


def _decoded_size(image: LabeledImage) -> tuple[int, int]:
    height, width = read(image.image).shape[-2:]
    return height, width


def _header_size(image: LabeledImage) -> tuple[int, int]:
    return read_size(image.image) if isinstance(image.image, (str, Path)) else _decoded_size(image)
