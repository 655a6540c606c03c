"""`Instances`, the one type for predictions and labels: the objects of one image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbridge.adapter import polygons
from maskbridge.adapter.masks import MaskCrop, crop_of_frame

if TYPE_CHECKING:
    import supervision
    import torch

BACKGROUND = "__background__"


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects of one image: the detections of a network, or what annotators drew (then without scores).

    Attributes:
        size: (H, W) of the image, with its EXIF orientation applied.
        boxes: float32 [N, 4], xyxy, in pixels.
        labels: int64 [N], indices into ``class_names``.
        class_names: all names that a label can have.
        masks: N crops, None for an object with a box only.
        scores: float32 [N] in 0..1, or None.
        ids: N ids from the labeling tool, or None.
        attributes: N mappings with the tool's other data for each label, or None.

    Raises:
        ValueError: the parts have different lengths.

    Example:
        >>> crop = MaskCrop(1, 0, np.ones((2, 1), dtype=bool))
        >>> cat = Instances((2, 3), [[1, 0, 2, 2]], [1], ("__background__", "cat"), [crop], scores=[0.5])
        >>> len(cat), cat.names, cat.frame(0).tolist()
        (1, ['cat'], [[False, True, False], [False, True, False]])
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    masks: tuple[MaskCrop | None, ...]
    scores: np.ndarray | None = None
    ids: tuple[str, ...] | None = None
    attributes: tuple[Mapping[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        def set_field(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        set_field("size", (int(self.size[0]), int(self.size[1])))
        set_field("boxes", np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4))
        set_field("labels", np.asarray(self.labels, dtype=np.int64).reshape(-1))
        set_field("class_names", tuple(self.class_names))
        set_field("masks", tuple(self.masks))
        if self.scores is not None:
            set_field("scores", np.asarray(self.scores, dtype=np.float32).reshape(-1))
        for name in ("ids", "attributes"):
            value = getattr(self, name)
            set_field(name, None if value is None else tuple(value))
        lengths = {name: len(v) for name in _PER_INSTANCE if (v := getattr(self, name)) is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the parts of Instances have different lengths: {lengths}")
        if len(self) and not (self.labels.min() >= 0 and self.labels.max() < len(self.class_names)):
            raise ValueError(f"labels must be in 0..{len(self.class_names) - 1}, indices into class_names")

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        names = ", ".join(self.names[:8]) + (", …" if len(self) > 8 else "")
        return f"Instances({len(self)} in {self.size[1]} x {self.size[0]}: {names or 'none'})"

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Instances:
        """Selects instances by an index, a slice, indices, or a bool array of length N."""
        indices = np.atleast_1d(np.arange(len(self))[index])

        def select(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in indices)

        return replace(
            self,
            boxes=self.boxes[indices],
            labels=self.labels[indices],
            masks=select(self.masks),
            scores=None if self.scores is None else self.scores[indices],
            ids=None if self.ids is None else select(self.ids),
            attributes=None if self.attributes is None else select(self.attributes),
        )

    @classmethod
    def empty(cls, size: tuple[int, int], class_names: Sequence[str]) -> Instances:
        """No objects, in an image of ``size`` (H, W).

        Example:
            >>> Instances.empty((20, 30), ["__background__", "cat"])
            Instances(0 in 30 x 20: none)
        """
        return cls(size, np.zeros((0, 4)), np.zeros(0), tuple(class_names), ())

    @classmethod
    def merge(cls, parts: Sequence[Instances]) -> Instances:
        """The objects of several instances of one image, in order.

        Class names are united in order, and labels renumbered. Scores and ids are None if those of a part with objects are.

        Raises:
            ValueError: there are no parts, or they are for images of different sizes.

        Example:
            >>> cat = Instances((9, 9), [[0, 0, 4, 4]], [1], ("__background__", "cat"), [None], scores=[0.9])
            >>> dog = Instances((9, 9), [[2, 2, 6, 6]], [1], ("__background__", "dog"), [None], scores=[0.8])
            >>> Instances.merge([cat, dog]).names
            ['cat', 'dog']
        """
        from maskbridge.adapter.merging import merge

        return merge(parts)

    @property
    def names(self) -> list[str]:
        """The class name of each instance."""
        return [self.class_names[label] for label in self.labels]

    def frame(self, index: int) -> np.ndarray:
        """One mask as a full frame: bool [H, W] (all False for an object without a mask)."""
        crop = self.masks[index]
        return np.zeros(self.size, dtype=bool) if crop is None else crop.frame(self.size)

    def frames(self) -> Iterator[np.ndarray]:
        """The masks as full frames, one at a time."""
        return (self.frame(index) for index in range(len(self)))

    def to_torchvision(self) -> dict[str, torch.Tensor]:
        """Converts to the dict that torchvision's Mask R-CNN returns, with masks as full frames.

        Returns:
            ``boxes`` float32 [N, 4], ``labels`` int64 [N], ``scores`` float32 [N] (unless None), ``masks`` float32
            [N, 1, H, W] of 0 and 1.
        """
        import torch

        result = {"boxes": torch.from_numpy(self.boxes.copy()), "labels": torch.from_numpy(self.labels.copy())}
        if self.scores is not None:
            result["scores"] = torch.from_numpy(self.scores.copy())
        result["masks"] = torch.from_numpy(self.stack(np.float32))[:, None]
        return result

    def to_target(self) -> dict[str, torch.Tensor]:
        """Converts to a training target: ``boxes`` float32 [N, 4], ``labels`` int64 [N], ``masks`` uint8 [N, H, W]."""
        import torch

        target = {"boxes": torch.from_numpy(self.boxes.copy()), "labels": torch.from_numpy(self.labels.copy())}
        return target | {"masks": torch.from_numpy(self.stack(np.uint8))}

    def stack(self, dtype: type[np.generic] = np.bool_) -> np.ndarray:
        """All masks as full frames of 0 and 1, [N, H, W]; for large images `frames` takes less memory."""
        stack = np.zeros((len(self), *self.size), dtype=dtype)
        for frame, crop in zip(stack, self.masks):
            if crop is not None:
                crop.write_into(frame)
        return stack

    @classmethod
    def from_torchvision(
        cls,
        result: Mapping[str, torch.Tensor],
        class_names: Sequence[str],
        *,
        mask_threshold: float = 0.5,
        size: tuple[int, int] | None = None,
    ) -> Instances:
        """The inverse of `to_torchvision` and `to_target`.

        Args:
            result: ``boxes``, ``labels``, ``scores`` and ``masks`` if there are any; without masks objects have boxes only.
            class_names: names by label, the background first.
            mask_threshold: pixels with a probability of at least this are in a mask.
            size: (H, W) of the image; only needed without masks.

        Raises:
            ValueError: there are neither masks nor a size.
        """
        masks: tuple[MaskCrop | None, ...] = (None,) * len(result["boxes"])
        if "masks" in result:
            frames = result["masks"].detach().cpu()
            frames = frames[:, 0] if frames.ndim == 4 else frames
            threshold = mask_threshold if frames.is_floating_point() else 1
            size = (frames.shape[-2], frames.shape[-1])
            masks = tuple(crop_of_frame((frame >= threshold).numpy()) for frame in frames)
        elif size is None:
            raise ValueError("without masks the image's size is unknown: pass size=(H, W)")
        return cls(
            size=size,
            boxes=result["boxes"].detach().cpu().numpy(),
            labels=result["labels"].detach().cpu().numpy(),
            class_names=tuple(class_names),
            masks=masks,
            scores=result["scores"].detach().cpu().numpy() if "scores" in result else None,
        )

    def to_coco(self, image_id: int | str = 0) -> list[dict[str, Any]]:
        """Converts to COCO's results format, ready for JSON: image, category, box (xywh), score and RLE of each instance.

        ``category_id`` is the label; with COCO's weights that is COCO's category id. Ids and attributes are added unless
        None; an object with a box only has no ``segmentation``.
        """
        from maskbridge.adapter.conversions import coco_results

        return coco_results.to_coco(self, image_id)

    @classmethod
    def from_coco(
        cls, annotations: Iterable[Mapping[str, Any]], size: tuple[int, int], categories: Mapping[int, str]
    ) -> Instances:
        """Converts COCO annotations or results of one image: masks as polygons or RLE, boxes as xywh.

        Args:
            annotations: COCO's dicts; keys that no other field holds (``iscrowd``, …) become attributes.
            size: (H, W) of the image.
            categories: names by category id. With ids 1..K and `BACKGROUND` at 0, labels equal ids.

        Raises:
            AnnotationError: a mask or box is invalid, or a category is not in ``categories``.
        """
        from maskbridge.adapter.conversions import coco_results

        return coco_results.from_coco(annotations, size, categories)

    def to_supervision(self) -> supervision.Detections:
        """Converts to supervision's ``Detections``: masks as full frames, class names in ``data["class_name"]``.

        Labels are ``class_id``; ids and attributes are further keys of ``data``.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from maskbridge.adapter.conversions import supervision_detections

        return supervision_detections.to_supervision(self)

    @classmethod
    def from_supervision(
        cls,
        detections: supervision.Detections,
        class_names: Sequence[str] | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> Instances:
        """The inverse of `to_supervision`, also for detections of other models.

        Args:
            detections: with or without masks, scores and ``data``.
            class_names: names by label, the background first; by default those in ``data["class_name"]``. An object's label
                is that of its name, or its ``class_id`` where ``data`` has no names.
            size: (H, W) of the image; only needed without masks.

        Raises:
            ValueError: there are neither masks nor a size, or neither names nor ``class_names``, or a name is unknown.
        """
        from maskbridge.adapter.conversions import supervision_detections

        return supervision_detections.from_supervision(detections, class_names, size=size)

    def to_polygons(
        self, *, max_points: int = polygons.MAX_POINTS, min_iou: float = polygons.MIN_IOU
    ) -> list[list[np.ndarray]]:
        """The polygons of each instance's mask (see `maskbridge.adapter.polygons.to_polygons`)."""
        return [
            [] if crop is None else polygons.to_polygons(crop, max_points=max_points, min_iou=min_iou)
            for crop in self.masks
        ]

    @classmethod
    def from_polygons(
        cls,
        outlines: Sequence[Sequence[np.ndarray]],
        labels: Sequence[int],
        class_names: Sequence[str],
        size: tuple[int, int],
    ) -> Instances:
        """Builds instances from polygons ([K, 2] points xy in pixels, one or more per object); boxes fit the masks.

        Raises:
            AnnotationError: a polygon has fewer than three points, or a coordinate that is not a finite number.
        """
        masks = [polygons.from_polygons(parts, size) for parts in outlines]
        boxes = [mask.box for mask in masks]
        return cls(size, np.asarray(boxes, dtype=np.float32), np.asarray(labels), tuple(class_names), tuple(masks))


_PER_INSTANCE = ("boxes", "labels", "masks", "scores", "ids", "attributes")
