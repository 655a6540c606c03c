"""Images with labels from annotators, for training and evaluation."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.images import ImageInput
from maskbridge.adapter.instances import BACKGROUND, Instances


class DataError(MaskbridgeError, ValueError):
    """Labeled images cannot be used: there are none, or an image file is missing."""


@dataclass(frozen=True)
class LabeledImage:
    """An image and its objects. Masks are stored as RLE, so that a hundred thousand images fit into memory.

    Attributes:
        image: what `maskbridge.adapter.images.read` takes; mostly a path.
        name: for display and messages: the file's name, a task's number.
        size: (H, W) that the labels are for.
        class_names: of the labels, the background first.
        annotations: COCO's, with labels as category ids and masks as RLE.
        image_id: its id in a COCO file.

    Example:
        >>> image = LabeledImage.of("a.jpg", Instances((2, 3), [[0, 0, 3, 2]], [1], (BACKGROUND, "cat"), [None]))
        >>> image.name, image.instances
        ('a.jpg', Instances(1 in 3 x 2: cat))
    """

    image: ImageInput
    name: str
    size: tuple[int, int]
    class_names: tuple[str, ...]
    annotations: tuple[Mapping[str, Any], ...] = field(repr=False)
    image_id: int | str | None = None

    @classmethod
    def of(cls, image: ImageInput, instances: Instances, name: str | None = None) -> LabeledImage:
        """Creates a labeled image from instances; the name is by default that of the image's file."""
        default_name = Path(image).name if isinstance(image, (str, Path)) else "image"
        finite = np.isfinite(instances.boxes).all(axis=1, keepdims=True)
        boxes = np.where(finite, instances.boxes, np.float32(0))  # a box that is not finite gets no area
        annotations = tuple(replace(instances, boxes=boxes).to_coco())
        return cls(image, default_name if name is None else name, instances.size, instances.class_names, annotations)

    @property
    def instances(self) -> Instances:
        """The objects, created at each call."""
        return Instances.from_coco(self.annotations, self.size, dict(enumerate(self.class_names)))

    def __len__(self) -> int:
        """Objects in the image."""
        return len(self.annotations)


@dataclass(frozen=True)
class SkippedLabel:
    """A label, or a part of its mask, that cannot be used: the image's name, the label's class or id, and why."""

    image: str
    label: str
    reason: str


@dataclass(frozen=True)
class SkippedImage:
    """An image that cannot be used: its name, why, and how many labels are lost with it."""

    name: str
    reason: str
    labels: int = 0


@dataclass(frozen=True)
class LabeledDataset(Sequence[LabeledImage]):
    """Labeled images, and what was skipped.

    Attributes:
        images: in order; those without objects are negatives.
        class_names: of all labels, the background first.
        skipped: labels that cannot be used.
        skipped_images: images that cannot be used.
        notes: what else a reader of the labels should know.
        category_names: the class name of each category id in a COCO file.
    """

    images: tuple[LabeledImage, ...]
    class_names: tuple[str, ...]
    skipped: tuple[SkippedLabel, ...] = ()
    skipped_images: tuple[SkippedImage, ...] = ()
    notes: tuple[str, ...] = ()
    category_names: Mapping[int | str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return self.images[index]

    def __iter__(self) -> Iterator[LabeledImage]:
        return iter(self.images)

    @property
    def objects(self) -> int:
        """Labels in all images."""
        return sum(map(len, self.images))

    def reasons(self) -> dict[str, int]:
        """How many labels were skipped for each reason, most frequent first."""
        return dict(Counter(label.reason for label in self.skipped).most_common())

    def fingerprint(self) -> str:
        """A short stable hash of the images' names and labels, whatever their order."""
        hashed = [
            json.dumps([image.name, image.size, image.class_names, _hashed_fields(image)], sort_keys=True)
            for image in self.images
        ]
        return hashlib.sha256("\n".join(sorted(hashed)).encode()).hexdigest()[:16]

    def split(self, fraction: float) -> tuple[LabeledDataset, LabeledDataset]:
        """Two parts, the second with about this fraction of the images.

        The split depends on an image's name alone: when more images are labeled later, no image changes its part. Where no
        label would be left in the first part, all images stay in it; that and an empty second part are in its ``notes``.
        """
        second = [_hash_fraction(image.name) < fraction for image in self.images]
        parts = [
            tuple(image for image, in_second in zip(self.images, second) if in_second is part) for part in (False, True)
        ]
        notes = self.notes
        if self.objects and not any(map(len, parts[0])):
            parts = [self.images, ()]
            notes += (f"{len(self)} images are too few to keep some for validation: all are trained on",)
        elif fraction and not parts[1]:
            notes += (f"none of the {len(self)} images is kept for validation: the last epoch's weights are the best",)
        return replace(self, images=parts[0], notes=notes), LabeledDataset(parts[1], self.class_names)


def read_json(path: Path) -> Any:
    """A JSON file of labels.

    Raises:
        DataError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())  # UTF-8, UTF-16 or UTF-32, with or without a byte order mark
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({error})") from None


def class_list(names: Sequence[str]) -> tuple[str, ...]:
    """Class names in a network's order: the background first, each once.

    Raises:
        DataError: there is none besides the background, one is empty, or one appears twice.
    """
    if isinstance(names, str):
        raise DataError(f"class names are a list, not one string: [{names!r}]")
    classes = tuple(name for name in names if name != BACKGROUND)
    if not classes:
        raise DataError("the class list is empty: name at least one class to look for")
    for name, count in Counter(classes).items():
        if not isinstance(name, str) or not name.strip() or count > 1:
            raise DataError(
                f"the class list has {name!r} {count} times: each name is a string that is not empty, and appears once"
            )
    return (BACKGROUND, *classes)


def usable(labeled: LabeledDataset, class_names: Sequence[str]) -> LabeledDataset:
    """Labeled images as a network of these classes can be trained on.

    Labels become indices into ``class_names``, boxes are clipped to the image. Labels without a mask, with an empty one or
    one of a single pixel, crowds, boxes outside of the image, and classes that are not in the list are skipped, each
    with its reason; their images stay, as negatives if no label remains.

    Raises:
        DataError: the class list is empty, or no label can be used.
    """
    names = class_list(class_names)
    labels_of = {name: label for label, name in enumerate(names)}
    images, skipped = [], list(labeled.skipped)
    for image in labeled:
        usable_labels = []
        for annotation in image.annotations:
            name = image.class_names[annotation["category_id"]]
            box = clip_box(annotation["bbox"], image.size)
            if (reason := _skip_reason(annotation, name, box, names)) is None:
                usable_labels.append({**annotation, "category_id": labels_of[name], "bbox": box})
            else:
                skipped.append(SkippedLabel(image.name, name, reason))
        images.append(replace(image, class_names=names, annotations=tuple(usable_labels)))
    result = replace(labeled, images=tuple(images), class_names=names, skipped=tuple(skipped))
    if not result.objects:
        counts = list(result.reasons().items()) + list(Counter(i.reason for i in labeled.skipped_images).most_common(3))
        reasons = "; ".join(f"{count} x {reason}" for reason, count in counts)
        raise DataError(f"no label can be used in {len(images)} images: {reasons or 'they have none'}")
    return result


def unusable_labels(labeled: LabeledDataset) -> Iterator[SkippedLabel]:
    """The labels that a network of the dataset's own classes cannot be trained on, with their reasons (see `usable`).

    Example:
        >>> cat = Instances((2, 3), [[0, 0, 3, 2]], [1], (BACKGROUND, "cat"), [None])
        >>> [label.reason for label in unusable_labels(labeled_images([("a.jpg", cat)]))]
        ['a box without a mask']
    """
    for image in labeled:
        for annotation in image.annotations:
            name = image.class_names[annotation["category_id"]]
            reason = _skip_reason(annotation, name, clip_box(annotation["bbox"], image.size), labeled.class_names)
            if reason is not None:
                yield SkippedLabel(image.name, name, reason)


def is_crowd(attributes: Mapping[str, Any] | None) -> bool:
    """Whether COCO's attributes mark a label as a group of objects; some tools write ``iscrowd`` as text.

    Example:
        >>> is_crowd({"iscrowd": 1}), is_crowd({"iscrowd": "0"}), is_crowd(None)
        (True, False, False)
    """
    value = (attributes or {}).get("iscrowd")
    return value.strip().lower() not in ("", "0", "0.0", "false", "no") if isinstance(value, str) else bool(value)


def _skip_reason(
    annotation: Mapping[str, Any], name: str, box: Sequence[float], class_names: tuple[str, ...]
) -> str | None:
    """Why a label cannot be trained on, None if it can."""
    if name not in class_names[1:]:
        return f"class {name!r} is not in the class list"
    if is_crowd(annotation):
        return "a crowd, not an object"
    if "segmentation" not in annotation:
        return "a box without a mask"
    pixels = int(coco_mask.area(annotation["segmentation"]))
    if pixels < 2:
        return "its mask is a single pixel" if pixels else "its mask has no pixel in the image"
    if not has_area(box):
        return "its box is not in the image or has no area"
    return None


def has_area(box: Sequence[float]) -> bool:
    """Whether a COCO box (x, y, width, height) has an area in float32, the dtype that it is trained with."""
    x, y, width, height = box
    x1, y1, x2, y2 = np.asarray([x, y, x + width, y + height], dtype=np.float32)
    return bool(x1 < x2 and y1 < y2)


def clip_box(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """A COCO box (x, y, width, height), cut at the edges of an image of ``size`` (H, W)."""
    x, y, width, height = box
    x1, x2 = (min(max(edge, 0.0), float(size[1])) for edge in (x, x + width))
    y1, y2 = (min(max(edge, 0.0), float(size[0])) for edge in (y, y + height))
    return [x1, y1, x2 - x1, y2 - y1]


def _hashed_fields(image: LabeledImage) -> list[Any]:
    fields = ("category_id", "bbox", "segmentation")
    return [{name: annotation.get(name) for name in fields} for annotation in image.annotations]


def _hash_fraction(name: str) -> float:
    """A number from 0 to 1 computed from a name's hash."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def labeled_images(images: Iterable[tuple[ImageInput, Instances]]) -> LabeledDataset:
    """Labeled images from pairs of image and instances; class names are all that the instances have.

    Example:
        >>> cat = Instances((2, 3), [[0, 0, 3, 2]], [1], (BACKGROUND, "cat"), [None])
        >>> labeled_images([("a.jpg", cat)]).class_names
        ('__background__', 'cat')
    """
    labeled = tuple(LabeledImage.of(image, instances) for image, instances in images)
    names = dict.fromkeys(name for image in labeled for name in image.class_names)
    names.pop(BACKGROUND, None)
    return LabeledDataset(labeled, (BACKGROUND, *names))
