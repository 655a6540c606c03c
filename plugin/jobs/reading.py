"""The images of a collection, in batches: images, one slice of groups, patches' source images, frames of videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import fiftyone as fo
from torch.utils.data import DataLoader, Dataset

from maskbridge.adapter import ImageError
from maskbridge.adapter import images as image_reading
from maskbridge.plugin.model import ImageGetItem, LoadedImage


@dataclass(frozen=True)
class Target:
    """An image to label: the id of its sample, and its path."""

    sample_id: str
    path: str


class _Images(Dataset[LoadedImage]):
    """Reads images in a data loader's workers."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets, self.read = targets, ImageGetItem()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> LoadedImage:
        target = self.targets[index]
        return self.read({"id": target.sample_id, "filepath": target.path})


def _as_list(batch: list[LoadedImage]) -> list[LoadedImage]:
    return batch


def image_batches(targets: list[Target], batch_size: int, num_workers: int) -> Iterator[list[LoadedImage]]:
    """Loaded images in batches, in order; an invalid image is represented by its error.

    Example:
        >>> list(image_batches([], 2, 0))
        []
    """
    return iter(DataLoader(_Images(targets), batch_size=batch_size, num_workers=num_workers, collate_fn=_as_list))


def frame_batches(sample: fo.Sample, batch_size: int) -> Iterator[list[tuple[int, LoadedImage]]]:
    """The frames of a video with their numbers.

    Raises:
        ImageError: at its end, if frames are missing or damaged; the readable ones have been given before.
    """
    from maskbridge.plugin.videos import read_frames

    batch: list[tuple[int, LoadedImage]] = []
    try:
        for number, image in read_frames(sample.filepath):
            batch.append((number, LoadedImage(sample.id, sample.filepath, image_reading.read(image))))
            if len(batch) == batch_size:
                yield batch
                batch = []
    except ImageError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
