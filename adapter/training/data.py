"""The network's input: images with their targets, in an order and with augmentations that depend on seed and epoch only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import Dataset, Sampler

from maskbridge.adapter.datasets.labeled_dataset import LabeledImage
from maskbridge.adapter.datasets.readable import size_problem
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import as_float, read
from maskbridge.adapter.training.augmentation import Target, augment, paste_objects
from maskbridge.adapter.training.large_images import shrink, working_size
from maskbridge.adapter.training.settings import TrainingSettings

Batch = tuple[list[torch.Tensor], list[Target], list[str]]


def seed_of(*parts: int | str) -> int:
    """A seed computed from numbers and words; a change of one gives an unrelated seed.

    Example:
        >>> seed_of(0, "order", 1) == seed_of(0, "order", 1), seed_of(0, "order", 1) == seed_of(0, "order", 2)
        (True, False)
    """
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:15], 16)


class TrainingImages(Dataset[tuple[torch.Tensor, Target, str]]):
    """Images with their targets, randomly flipped and scaled, some with objects of another image pasted in.

    An item's key is (epoch, index); the same key gives the same item in every process and after every restart.

    Args:
        images: the training images.
        settings: the augmentations.
        sides: the largest short and long side of the network's input: much larger images are shrunk first.
    """

    def __init__(self, images: Sequence[LabeledImage], settings: TrainingSettings, sides: tuple[int, int]) -> None:
        self.images, self.settings, self.sides = images, settings, sides

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, Target, str]:
        epoch, index = key
        labeled = self.images[index]
        image, target = self._read(labeled)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.settings.seed, epoch, index))
            image, target = augment(image, target, self.settings)
            image = as_float(image)
            if self.settings.copy_paste and torch.rand(()) < self.settings.copy_paste:
                image, target = paste_objects(image, target, *self._source((image.shape[-2], image.shape[-1])))
        return image, target, labeled.name

    def _source(self, size: tuple[int, int]) -> tuple[torch.Tensor, Target]:
        """A random image with its objects, scaled and cropped to a size, to paste from."""
        labeled = self.images[int(torch.randint(len(self.images), ()))]
        image, target = augment(*self._read(labeled), self.settings, size=size)
        return as_float(image), target

    def _read(self, labeled: LabeledImage) -> tuple[torch.Tensor, Target]:
        image, instances = read_labeled(labeled), labeled.instances
        size = working_size(instances.size, self.sides)
        if size != instances.size:
            image, instances = shrink(image, instances, size)
        return image, instances.to_target()


def read_labeled(labeled: LabeledImage) -> torch.Tensor:
    """A labeled image as a uint8 tensor.

    Raises:
        ImageError: it cannot be read, or is not of the size that its labels are for.
    """
    image = read(labeled.image)
    height, width = image.shape[-2:]
    if (problem := size_problem((height, width), labeled.size)) is not None:
        raise ImageError(f"{labeled.name}: {problem}")
    return image


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The batches of an epoch: shuffled in each, portrait and landscape images apart, since padding costs time.

    Args:
        images: the training images.
        settings: batch size and seed.
        epoch: returns the number of epochs done.
        rank: this process's rank.
        world_size: the number of processes; each gets equally many batches.
    """

    def __init__(
        self,
        images: Sequence[LabeledImage],
        settings: TrainingSettings,
        epoch: Callable[[], int],
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._portrait = [image.size[0] > image.size[1] for image in images]
        self._settings, self._epoch, self._rank, self._world_size = settings, epoch, rank, world_size

    def __len__(self) -> int:
        batches = -(-len(self._portrait) // self._settings.batch_size)
        return -(-batches // self._world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, size = self._epoch(), self._settings.batch_size
        generator = torch.Generator().manual_seed(seed_of(self._settings.seed, "order", epoch))
        order: list[int] = torch.randperm(len(self._portrait), generator=generator).tolist()
        batches: list[list[int]] = []
        groups: dict[bool, list[int]] = {True: [], False: []}
        for index in order:
            group = groups[self._portrait[index]]
            group.append(index)
            if len(group) == size:
                batches.append(group.copy())
                group.clear()
        rest = groups[True] + groups[False]
        batches += [rest[first : first + size] for first in range(0, len(rest), size)]
        batches += batches[: len(self) * self._world_size - len(batches)]  # fills the last round with the first batches
        return iter([[(epoch, index) for index in batch] for batch in batches[self._rank :: self._world_size]])


def collate(items: list[tuple[torch.Tensor, Target, str]]) -> Batch:
    """A batch in the form that torchvision's networks take: lists, since images differ in size."""
    images, targets, names = zip(*items)
    return list(images), list(targets), list(names)
