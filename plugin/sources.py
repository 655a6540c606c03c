"""The photos of a collection, in batches: images, one slice of groups, patches' source photos, frames of videos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.patches as fop
from torch.utils.data import DataLoader, Dataset

from maskbridge.adapter import SettingsError
from maskbridge.adapter import images as image_reading
from maskbridge.plugin.model import LoadedPhoto, PhotoGetItem


@dataclass(frozen=True)
class Target:
    """A photo to be labelled: the id of its sample, and its path."""

    sample_id: str
    path: str


def flat(collection: fo.core.collections.SampleCollection) -> fo.core.collections.SampleCollection:
    """The samples to label: patches give their source photos, groups their active slice.

    Raises:
        SettingsError: the samples are neither photos nor videos.
    """
    if isinstance(collection, fop.PatchesView):
        ids = list(dict.fromkeys(collection.values("sample_id")))
        collection = collection._root_dataset.select(ids, ordered=True)
    if collection.media_type == fom.GROUP:
        collection = collection.select_group_slices(collection.group_slice)
    if collection.media_type not in (fom.IMAGE, fom.VIDEO):
        raise SettingsError(f"the samples are {collection.media_type}, not photos or videos")
    return collection


class _Photos(Dataset[LoadedPhoto]):
    """Reads photos in a data loader's workers."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets, self.read = targets, PhotoGetItem()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> LoadedPhoto:
        target = self.targets[index]
        return self.read({"id": target.sample_id, "filepath": target.path})


def _as_list(batch: list[LoadedPhoto]) -> list[LoadedPhoto]:
    return batch


def photo_batches(targets: list[Target], batch_size: int, num_workers: int) -> Iterator[list[LoadedPhoto]]:
    """Photos that are read, in order; a bad one holds its error."""
    return iter(DataLoader(_Photos(targets), batch_size=batch_size, num_workers=num_workers, collate_fn=_as_list))


def frame_batches(sample: fo.Sample, batch_size: int) -> Iterator[list[tuple[int, LoadedPhoto]]]:
    """The frames of a video with their numbers, read with ffmpeg."""
    import eta.core.video as etav

    batch: list[tuple[int, LoadedPhoto]] = []
    with etav.FFmpegVideoReader(sample.filepath) as reader:
        for image in reader:
            batch.append((reader.frame_number, LoadedPhoto(sample.id, sample.filepath, image_reading.read(image))))
            if len(batch) == batch_size:
                yield batch
                batch = []
    if batch:
        yield batch
