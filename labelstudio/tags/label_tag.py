"""The base class of label tags: instances to regions, and back."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.adapter.masks import MaskCrop

Region: TypeAlias = "dict[str, Any]"
"""One entry of ``result`` in Label Studio's predictions and annotations, ready for JSON."""


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
class LabelTag(ABC):
    """A control tag of a label config, on one image tag.

    Attributes:
        from_name: the control tag's name.
        to_name: the image tag's name.
        labels: the label for each class name of the model; instances of other classes get no regions.
        label_names: all labels of the tag, as results carry them; by default the values of ``labels``.
        threshold: instances get regions if their score is above it, 0 to 1.
        class_thresholds: pairs of class name and threshold, for classes that have another.
    """

    from_name: str
    to_name: str
    labels: Mapping[str, str]
    label_names: tuple[str, ...] = ()
    threshold: float = 0.0
    class_thresholds: tuple[tuple[str, float], ...] = ()

    kind: ClassVar[str]
    """The tag's name in a label config."""
    needs_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "label_names", self.label_names or tuple(dict.fromkeys(self.labels.values())))

    @classmethod
    def matches(cls, tag: str) -> bool:
        """Whether a control tag is of this class; Label Studio ignores case."""
        return tag.lower() == cls.kind.lower()

    def threshold_of(self, class_name: str) -> float:
        """The threshold of a class of the model."""
        return dict(self.class_thresholds).get(class_name, self.threshold)

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
        for value, extra in self._values(crop, box, instances.size):
            region: Region = {
                "id": f"{region_id}-{len(regions) + 1}" if regions else region_id,
                "from_name": self.from_name,
                "to_name": self.to_name,
                "type": self.kind.lower(),
                "original_width": instances.size[1],
                "original_height": instances.size[0],
                "image_rotation": 0,  # the rotation made in the editor; EXIF orientation is part of the sizes
                "value": {**value, self.kind.lower(): [label]},
                **extra,
            }
            if instances.scores is not None:
                region["score"] = float(instances.scores[index])
            regions.append(region)
        return regions

    def decode(self, result: Iterable[Mapping[str, Any]]) -> Instances:
        """The inverse of `encode`: this tag's regions of one image as instances. Regions of other tags are skipped.

        Labels are indices into ``("__background__", *label_names)``; ids are those of the regions. Each region is an
        instance, so an object that was encoded as several polygons is decoded as several instances.

        Raises:
            AnnotationError: a region is malformed, its label is not one of the tag's, or there is no region, so that the
                image's size is unknown. The message names the region.
        """
        regions = [region for region in result if self._owns(region)]
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
            labels = value[self.kind.lower()]
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

    def _owns(self, region: Mapping[str, Any]) -> bool:
        return (region.get("type"), region.get("from_name")) == (self.kind.lower(), self.from_name)

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
        AnnotationError: the height or width is missing, or is not an integer from 1 to 100,000.

    Example:
        >>> size_of({"original_width": 640, "original_height": 480})
        (480, 640)
    """
    size = region.get("original_height"), region.get("original_width")
    if not all(isinstance(side, int) and not isinstance(side, bool) and 0 < side <= 100_000 for side in size):
        raise AnnotationError(f"original_height and original_width are {size}, not pixels of an image")
    return size  # type: ignore[return-value]
