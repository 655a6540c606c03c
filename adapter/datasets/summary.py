"""What a labeled dataset holds, in numbers: images, objects, classes, sizes, and everything that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pycocotools import mask as coco_mask

from maskbridge.adapter.datasets.labeled_dataset import (
    LabeledDataset,
    SkippedImage,
    SkippedLabel,
    is_crowd,
    unusable_labels,
)

SIZES = {"small": 32**2, "medium": 96**2, "large": float("inf")}
"""COCO's sizes of objects: pixels below which an area is of a size."""


@dataclass(frozen=True)
class ClassCount:
    """The objects of a class, and the images that have any."""

    objects: int
    images: int


@dataclass(frozen=True)
class Summary:
    """What a labeled dataset holds.

    Attributes:
        images: images that can be used.
        without_objects: those that have no label.
        objects: labels in them.
        without_mask: those that are boxes only.
        crowds: those that are groups of objects.
        classes: by name, the most frequent first.
        sizes: objects by COCO's sizes.
        areas: the smallest, the median and the largest area of an object, in pixels.
        skipped_images: images that cannot be used.
        skipped_labels: labels, or parts of their masks, that cannot be read.
        not_trained: how many labels training would skip, by reason.
        notes: what else a reader should know.
    """

    images: int
    without_objects: int
    objects: int
    without_mask: int
    crowds: int
    classes: Mapping[str, ClassCount]
    sizes: Mapping[str, int]
    areas: tuple[float, float, float] | None
    skipped_images: tuple[SkippedImage, ...]
    skipped_labels: tuple[SkippedLabel, ...]
    not_trained: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing was skipped."""
        return not self.skipped_images and not self.skipped_labels

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"complete": self.complete}


def summarize(labeled: LabeledDataset) -> Summary:
    """Counts what a labeled dataset holds. No image is read, no mask is decoded.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> cat = Instances((20, 30), [[0, 0, 9, 9]], [1], ("__background__", "cat"), [None])
        >>> summary = summarize(labeled_images([("a.jpg", cat)]))
        >>> summary.classes, summary.sizes
        ({'cat': ClassCount(objects=1, images=1)}, {'small': 1, 'medium': 0, 'large': 0})
    """
    objects: Counter[str] = Counter()
    images: Counter[str] = Counter()
    areas = []
    for image in labeled:
        names = [image.class_names[annotation["category_id"]] for annotation in image.annotations]
        objects.update(names)
        images.update(set(names))
        areas += [_area(annotation) for annotation in image.annotations]
    annotations = [annotation for image in labeled for annotation in image.annotations]
    areas.sort()
    return Summary(
        images=len(labeled),
        without_objects=sum(not len(image) for image in labeled),
        objects=labeled.objects,
        without_mask=sum("segmentation" not in annotation for annotation in annotations),
        crowds=sum(map(is_crowd, annotations)),
        classes={name: ClassCount(count, images[name]) for name, count in objects.most_common()},
        sizes=_sizes(areas),
        areas=(areas[0], areas[len(areas) // 2], areas[-1]) if areas else None,
        skipped_images=labeled.skipped_images,
        skipped_labels=labeled.skipped,
        not_trained=dict(Counter(label.reason for label in unusable_labels(labeled)).most_common()),
        notes=labeled.notes,
    )


def _area(annotation: Mapping[str, Any]) -> float:
    if "segmentation" in annotation:
        return float(coco_mask.area(annotation["segmentation"]))
    _, _, width, height = annotation["bbox"]
    return max(width, 0.0) * max(height, 0.0)


def _sizes(areas: Iterable[float]) -> dict[str, int]:
    counts = dict.fromkeys(SIZES, 0)
    for area in areas:
        counts[next(name for name, limit in SIZES.items() if area < limit)] += 1
    return counts
