"""Annotations of Label Studio's tasks as labeled images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.confidence import Confidence
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, SkippedImage, SkippedLabel
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import read_size
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import LabelConfig, LabelConfigError
from maskbridge.labelstudio.plan import kind_of, tag_of
from maskbridge.labelstudio.tags import LabelTag
from maskbridge.labelstudio.tags.label_tag import size_of
from maskbridge.labelstudio.tasks import ImageValue, image_values

Locate = Callable[[object, Mapping[str, Any]], Path]
"""Returns the file of an image, from the image tag's value in the task's data, and the task."""


def labeled_dataset(tasks: Sequence[Mapping[str, Any]], config: LabelConfig, locate: Locate | None) -> LabeledDataset:
    """The images of annotated tasks, with their regions as instances: one instance for each region.

    One annotation of a task is used: the ground truth, else the newest; cancelled ones are ignored. A task whose annotation
    has no regions is an image without objects; a task without an annotation is skipped. Regions that cannot be read and
    images that cannot be fetched are in the dataset's ``skipped`` and ``skipped_images``, with the reason.

    Args:
        tasks: the tasks of Label Studio's JSON export.
        config: the project's label config.
        locate: returns the file of an image; a `TaskImageError` or `ImageError` that it raises is the reason. None if
            images are not read: their sizes are those that regions state, and 0 x 0 where there is none.
    """
    configs = [_config_for(task, config) for task in tasks]
    different = {id(one): one for one in (config, *configs)}.values()  # most often one for all tasks
    names = tuple(dict.fromkeys(name for one in different for name in class_names(one)))
    images: list[LabeledImage] = []
    skipped: list[SkippedLabel] = []
    skipped_images: list[SkippedImage] = []
    for task, config_of_task in zip(tasks, configs):
        annotation = chosen_annotation(task)
        if annotation is None:
            continue
        skipped += _on_other_tags(task, annotation, config_of_task)
        for image in images_in(task, config_of_task):
            regions = _regions_on(annotation, image)
            try:
                path = Path(image.name) if locate is None else locate(image.value, task)
                size = _stated_size(regions) if locate is None else read_size(path)
            except (TaskImageError, ImageError) as error:
                skipped_images.append(SkippedImage(image.name, str(error), len(regions)))
                continue
            instances, unreadable = _instances(regions, size, image.tags, names)
            skipped += [SkippedLabel(image.name, region_id, reason) for region_id, reason in unreadable]
            images.append(LabeledImage.of(path, instances, image.name))
    return LabeledDataset(tuple(images), names, tuple(skipped), tuple(skipped_images))


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


@dataclass(frozen=True)
class TaskImage:
    """An image of a task that has label tags.

    Attributes:
        name: for messages and results, such as ``"task 7"``.
        image_tag: the name of the image tag that shows it.
        index: its index in the list that the tag shows; None if the tag shows one image.
        value: its value in the task's data: an address.
        tags: the label tags on it, by name.
    """

    name: str
    image_tag: str
    index: int | None
    value: object
    tags: Mapping[str, LabelTag]


def images_in(task: Mapping[str, Any], config: LabelConfig) -> Iterator[TaskImage]:
    """The images of a task that have label tags.

    Example:
        >>> from maskbridge.labelstudio.label_config import parse
        >>> tag = '<PolygonLabels name="label" toName="image"><Label value="person"/></PolygonLabels>'
        >>> config = parse(f'<View><Image name="image" value="$image"/>{tag}</View>')
        >>> [(image.name, image.value) for image in images_in({"id": 7, "data": {"image": "a.jpg"}}, config)]
        [('task 7', 'a.jpg')]
    """
    config = _config_for(task, config)
    if config.missing:
        yield TaskImage(f"task {task.get('id')}", "", None, None, {})
    for image in config.images:
        controls = [control for control in config.controls if image.name in control.to_names]
        tags = {
            control.name: tag for control in controls if (tag := tag_of(control, image.name, (), Confidence(0))) is not None
        }
        if not tags:
            continue
        try:
            images = image_values(image, task["data"])
        except (KeyError, TypeError, AttributeError):
            images = [ImageValue(None, None)]
        for shown in images:
            name = f"task {task.get('id')}" + ("" if shown.index is None else f" image {shown.index}")
            yield TaskImage(name, image.name, shown.index, shown.value, tags)


def _config_for(task: Mapping[str, Any], config: LabelConfig) -> LabelConfig:
    """The config for a task; where it has too many tags, one that misses its images."""
    data = task.get("data")
    try:
        return config.for_task(data if isinstance(data, Mapping) else {})
    except LabelConfigError as error:
        return LabelConfig((), (), missing=(str(error),))


def _on_other_tags(task: Mapping[str, Any], annotation: Mapping[str, Any], config: LabelConfig) -> Iterator[SkippedLabel]:
    """The regions on image tags that the task's label config has not, such as those of a page that was removed."""
    names = [image.name for image in config.images]
    for region in regions_of(annotation):
        value = region.get("value")
        if isinstance(value, Mapping) and _POSITION_KEYS & value.keys() and region.get("to_name") not in names:
            reason = f"its image tag {region.get('to_name')!r} is not in the label config for this task"
            yield SkippedLabel(f"task {task.get('id')}", str(region.get("id", "?")), reason)


def _regions_on(annotation: Mapping[str, Any], image: TaskImage) -> list[Mapping[str, Any]]:
    """The regions of an annotation on one image of the task."""
    return [
        region
        for region in regions_of(annotation)
        if region.get("to_name") == image.image_tag and (image.index or 0) == (region.get("item_index") or 0)
    ]


def _stated_size(regions: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """The size of the image that the first region states; 0 x 0 if none does."""
    for region in regions:
        with contextlib.suppress(AnnotationError):
            return size_of(region)
    return 0, 0


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
        tag = next((tag for tag in tags.values() if tag.owns(region)), None)
        if tag is None:
            unmatched.append(region)
            continue
        try:
            if size_of(region) != size:
                raise AnnotationError(f"it is for an image of {size_of(region)[::-1]} pixels, the image has {size[::-1]}")
            decoded = tag.decode_region(region)
        except AnnotationError as error:
            unreadable.append((str(region.get("id", "?")), str(error)))
            continue
        boxes.append(decoded.box)
        masks.append(decoded.mask)
        labels.append(names.index(decoded.label))
        ids.append(str(region.get("id", "")))
    handled = {*ids, *(region_id for region_id, _ in unreadable)}
    for region in unmatched:  # texts and choices of a region repeat its id and its position
        value = region.get("value")
        if isinstance(value, Mapping) and _POSITION_KEYS & value.keys() and str(region.get("id", "?")) not in handled:
            kind = region.get("type")
            generic = any(tag.labels_name is not None and kind == tag.generic_type() for tag in tags.values())
            reason = "it has no label" if generic else f"regions of the type {kind!r} are not read"
            unreadable.append((str(region.get("id", "?")), reason))
            if "id" in region:  # a region of generic tags is two results
                handled.add(str(region["id"]))
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
