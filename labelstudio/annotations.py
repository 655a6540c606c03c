"""Annotations of Label Studio's tasks as labeled images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, SkippedLabel
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import read_size
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import LabelConfig
from maskbridge.labelstudio.plan import kind_of, tag_of
from maskbridge.labelstudio.tags import LabelTag
from maskbridge.labelstudio.tags.label_tag import size_of
from maskbridge.labelstudio.tasks import image_values

Locate = Callable[[object, Mapping[str, Any]], Path]
"""Returns the file of an image, from the image tag's value in the task's data, and the task."""


def labeled_dataset(tasks: Sequence[Mapping[str, Any]], config: LabelConfig, locate: Locate) -> LabeledDataset:
    """The images of annotated tasks, with their regions as instances: one instance for each region.

    One annotation of a task is used: the ground truth, else the newest; cancelled ones are ignored. A task whose annotation
    has no regions is an image without objects; a task without an annotation is skipped. Regions that cannot be read and
    images that cannot be fetched are in the dataset's ``skipped``, with the reason.

    Args:
        tasks: the tasks of Label Studio's JSON export.
        config: the project's label config.
        locate: returns the file of an image; a `TaskImageError` or `ImageError` that it raises is the reason.
    """
    names = class_names(config)
    images, skipped = [], []
    for task in tasks:
        annotation = chosen_annotation(task)
        if annotation is None:
            continue
        for image, index, value, tags in images_in(task, config):
            name = image_name(task, index)
            try:
                path = locate(value, task)
                size = read_size(path)
            except (TaskImageError, ImageError) as error:
                skipped.append(SkippedLabel(name, "all", str(error)))
                continue
            regions = _regions_on(annotation, image, index)
            instances, unreadable = _instances(regions, size, tags, names)
            skipped += [SkippedLabel(name, region_id, reason) for region_id, reason in unreadable]
            images.append(LabeledImage.of(path, instances, name))
    return LabeledDataset(tuple(images), names, tuple(skipped))


def image_name(task: Mapping[str, Any], index: int | None) -> str:
    """The name of an image of a task, for messages and results.

    Example:
        >>> image_name({"id": 7}, None), image_name({"id": 7}, 2)
        ('task 7', 'task 7 image 2')
    """
    return f"task {task.get('id')}" + ("" if index is None else f" image {index}")


def class_names(config: LabelConfig) -> tuple[str, ...]:
    """The background, then the labels of all supported control tags, as results carry them."""
    names = [label.result_name for control in config.controls if kind_of(control) for label in control.labels]
    return (BACKGROUND, *dict.fromkeys(name for name in names if name != BACKGROUND))


def chosen_annotation(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The annotation of a task that is used: the ground truth, else the newest; None if there is none."""
    listed = task.get("annotations")
    annotations = [
        annotation
        for annotation in (listed if isinstance(listed, list) else [])
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    if not annotations:
        return None
    return max(annotations, key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at") or "")))


def regions_of(annotation: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The regions of an annotation; an empty list if it is None or malformed."""
    result = (annotation or {}).get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def images_in(
    task: Mapping[str, Any], config: LabelConfig
) -> Iterator[tuple[str, int | None, object, Mapping[str, LabelTag]]]:
    """The images of a task that have label tags.

    Yields:
        The image tag's name, the image's index in a list or None, its value in the task's data, and the label tags by name.
    """
    for image in config.images:
        controls = [control for control in config.controls if image.name in control.to_names]
        tags = {control.name: tag for control in controls if (tag := tag_of(control, image.name, (), 0)) is not None}
        if not tags:
            continue
        try:
            images = image_values(image, task["data"])
        except (KeyError, TypeError, AttributeError):
            images = [(None, None)]
        for index, value in images:
            yield image.name, index, value, tags


def _regions_on(annotation: Mapping[str, Any], image: str, index: int | None) -> list[Mapping[str, Any]]:
    """The regions of an annotation on one image of the task."""
    return [
        region
        for region in regions_of(annotation)
        if region.get("to_name") == image and (index or 0) == (region.get("item_index") or 0)
    ]


def _instances(
    regions: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    tags: Mapping[str, LabelTag],
    names: tuple[str, ...],
) -> tuple[Instances, list[tuple[str, str]]]:
    """The regions of one image as instances; and the ids of the regions that cannot be read, with the reason."""
    boxes, masks, labels, ids = [], [], [], []
    unreadable: list[tuple[str, str]] = []
    unmatched = []
    for region in regions:
        tag = tags.get(str(region.get("from_name")))
        if tag is None or region.get("type") != tag.kind.lower():
            unmatched.append(region)
            continue
        try:
            if size_of(region) != size:
                raise AnnotationError(f"it is for an image of {size_of(region)[::-1]} pixels, the image has {size[::-1]}")
            box, mask, label = tag.decode_region(region)
        except AnnotationError as error:
            unreadable.append((str(region.get("id", "?")), str(error)))
            continue
        boxes.append(box)
        masks.append(mask)
        labels.append(names.index(label))
        ids.append(str(region.get("id", "")))
    handled = {*ids, *(region_id for region_id, _ in unreadable)}
    for region in unmatched:  # texts and choices of a region repeat its id and its position
        value = region.get("value")
        if isinstance(value, Mapping) and _POSITION_KEYS & value.keys() and str(region.get("id", "?")) not in handled:
            unreadable.append((str(region.get("id", "?")), f"regions of the type {region.get('type')!r} are not read"))
    instances = Instances(
        size=size,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        class_names=names,
        masks=tuple(masks),
        ids=tuple(ids),
    )
    return instances, unreadable


_POSITION_KEYS = {"x", "points", "rle", "imageDataURL", "vertices"}
"""Keys of a region's value that give its position in the image."""
