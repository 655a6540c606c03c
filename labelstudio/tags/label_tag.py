"""The base class of label tags: instances to regions, and back."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.adapter.masks import MaskCrop
from maskbridge.labelstudio.tags.filled_tag import FilledTag, Region


@dataclass(frozen=True)
class DecodedRegion:
    """A region's object.

    Attributes:
        box: xyxy, in pixels.
        mask: None for a region with a box only.
        label: as results carry it.
    """

    box: Sequence[float]
    mask: MaskCrop | None
    label: str


@dataclass(frozen=True)
class LabelTag(FilledTag):
    """A control tag that gets regions.

    Attributes:
        label_names: all labels of the tag, as results carry them; by default the values of ``labels``.
        labels_name: the name of the ``<Labels>`` that the labels belong to, for the generic form of the tag, such as
            ``<Brush>``; None if they are the tag's own. A generic region is two results with the same id.
    """

    label_names: tuple[str, ...] = ()
    labels_name: str | None = None

    needs_masks: ClassVar[bool] = True
    shape_key: ClassVar[str]
    """The key of a region's value that only regions of this kind have."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_names", self.label_names or tuple(dict.fromkeys(self.labels.values())))

    @classmethod
    def matches(cls, tag: str) -> bool:
        """Whether a control tag is of this class, or its generic form; Label Studio ignores case."""
        return tag.lower() in (cls.kind.lower(), cls.generic_type())

    @classmethod
    def generic_type(cls) -> str:
        """The type of regions of the generic form, such as ``brush``."""
        return cls.kind.lower().removesuffix("labels")

    def encode(self, instances: Instances) -> list[Region]:
        """The regions of an image's instances: sizes in pixels, positions in percent, scores if there are any."""
        return [region for index in range(len(instances)) for region in self._regions(instances, index)]

    def encode_one(self, instances: Instances, index: int, label: str) -> list[Region]:
        """The regions of one instance, with this label.

        The region's id is the instance's id (a random one if there are no ids); further regions of it get ``-2``, ``-3``, …
        appended.
        """
        crop, box = instances.masks[index], instances.boxes[index]
        region_id = uuid.uuid4().hex[:10] if instances.ids is None else instances.ids[index]
        regions: list[Region] = []
        for number, (value, extra) in enumerate(self._values(crop, box, instances.size), start=1):
            region: Region = {
                "id": f"{region_id}-{number}" if number > 1 else region_id,
                "from_name": self.labels_name or self.from_name,
                "to_name": self.to_name,
                "type": self.labels_key,
                "original_width": instances.size[1],
                "original_height": instances.size[0],
                "image_rotation": 0,  # the rotation made in the editor; EXIF orientation is part of the sizes
                "value": {**value, self.labels_key: [label]},
                **extra,
            }
            if instances.scores is not None:
                region["score"] = float(instances.scores[index])
            if self.labels_name is not None:
                shape = {**region, "from_name": self.from_name, "type": self.generic_type(), "value": value}
                regions.append(shape)
            regions.append(region)
        return regions

    @property
    def labels_key(self) -> str:
        """The type of the regions that carry labels, and the key of the labels in their value."""
        return self.kind.lower() if self.labels_name is None else "labels"

    def decode(self, result: Iterable[Mapping[str, Any]]) -> Instances:
        """The inverse of `encode`: this tag's regions of one image as instances. Regions of other tags are skipped.

        Labels are indices into ``("__background__", *label_names)``; ids are those of the regions. Each region is an
        instance, so an object that was encoded as several polygons is decoded as several instances.

        Raises:
            AnnotationError: a region is malformed, its label is not one of the tag's, or there is no region, so that the
                image's size is unknown. The message names the region.
        """
        regions = [region for region in result if self.owns(region)]
        if not regions:
            raise AnnotationError(f"no region of {self.from_name}: the image's size is unknown")
        decoded = [self.decode_region(region) for region in regions]
        size = size_of(regions[0])
        if any(size_of(region) != size for region in regions):
            raise AnnotationError(f"the regions of {self.from_name} are for images of different sizes")
        scores = [region.get("score") for region in regions]
        return Instances(
            size=size,
            boxes=np.array([one.box for one in decoded], dtype=np.float32),
            labels=np.array([1 + self.label_names.index(one.label) for one in decoded], dtype=np.int64),
            class_names=(BACKGROUND, *self.label_names),
            masks=tuple(one.mask for one in decoded),
            scores=None if any(score is None for score in scores) else np.array(scores, dtype=np.float32),
            ids=tuple(str(region.get("id", "")) for region in regions),
        )

    def decode_region(self, region: Mapping[str, Any]) -> DecodedRegion:
        """Decodes one region.

        Raises:
            AnnotationError: the region is malformed, or its label is not one of the tag's.
        """
        try:
            size, value = size_of(region), region["value"]
            labels = value[self.labels_key]
            if rotation := region.get("image_rotation"):
                raise AnnotationError(f"it was drawn on an image that was rotated by {rotation} degrees in the editor")
            if not labels or labels[0] not in self.label_names:
                raise AnnotationError(f"its label {labels} is not one of {', '.join(self.label_names)}")
            box, crop = self._decode_value(value, size)
        except AnnotationError as error:
            raise AnnotationError(f"region {region.get('id')}: {error}") from None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise AnnotationError(f"region {region.get('id')} is malformed: {error!r}") from error
        return DecodedRegion(box, crop, labels[0])

    def owns(self, region: Mapping[str, Any]) -> bool:
        """Whether a region is one of this tag's, with a label."""
        if (region.get("type"), region.get("from_name")) != (self.labels_key, self.labels_name or self.from_name):
            return False
        value = region.get("value")
        return self.labels_name is None or (isinstance(value, Mapping) and self.shape_key in value)

    def _regions(self, instances: Instances, index: int) -> list[Region]:
        name = instances.names[index]
        label = self.labels.get(name)
        below = instances.scores is not None and not instances.scores[index] > self.threshold_of(name)
        return [] if label is None or below else self.encode_one(instances, index, label)

    @abstractmethod
    def _values(
        self, crop: MaskCrop | None, box: np.ndarray, size: tuple[int, int]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yields for each region of an instance its ``value`` (without the label), and further keys of the region."""

    @abstractmethod
    def _decode_value(self, value: Mapping[str, Any], size: tuple[int, int]) -> tuple[Sequence[float], MaskCrop | None]:
        """The box (xyxy in pixels) and the mask, or None, of a region's ``value``."""


def size_of(region: Mapping[str, Any]) -> tuple[int, int]:
    """The image's (H, W) according to a region.

    Raises:
        AnnotationError: the height or width is missing, or is not a whole number from 1 to 100,000.

    Example:
        >>> size_of({"original_width": 640, "original_height": 480})
        (480, 640)
    """
    sides = region.get("original_height"), region.get("original_width")
    if not all(_is_side(side) for side in sides):
        raise AnnotationError(f"original_height and original_width are {sides}, not pixels of an image")
    return int(sides[0]), int(sides[1])  # type: ignore[arg-type]


def _is_side(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 < value <= 100_000 and value == int(value)  # type: ignore[operator, call-overload]
