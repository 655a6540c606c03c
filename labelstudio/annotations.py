"""What people annotated in Label Studio, as labeled images."""

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
"""From what a task's data says of an image, and the task, to a file of that image."""


def labeled_dataset(tasks: Sequence[Mapping[str, Any]], config: LabelConfig, locate: Locate) -> LabeledDataset:
    """The images of annotated tasks, with their regions as instances; a region is an instance.

    Of a task's annotations the ground truth counts, else the newest; skipped ones do not. A task with an annotation
    without regions is an image without objects; one without an annotation is left out. Regions that cannot be read, and
    images that cannot be had, are left out with their reason.

    Args:
        tasks: of Label Studio's JSON export.
        config: the project's label config.
        locate: finds images; what it raises as `TaskImageError` or `ImageError` is a reason.
    """
    names = class_names(config)
    images, skipped = [], []
    for task in tasks:
        annotation = chosen_annotation(task)
        if annotation is None:
            continue
        for image, place, value, tags in images_in(task, config):
            name = f"task {task.get('id')}" + ("" if place is None else f" image {place}")
            try:
                path = locate(value, task)
                size = read_size(path)
            except (TaskImageError, ImageError) as error:
                skipped.append(SkippedLabel(name, "all", str(error)))
                continue
            instances, bad = _instances(regions_of(annotation), image, place, size, tags, names)
            skipped += [SkippedLabel(name, *problem) for problem in bad]
            images.append(LabeledImage.of(path, instances, name))
    return LabeledDataset(tuple(images), names, tuple(skipped))


def class_names(config: LabelConfig) -> tuple[str, ...]:
    """The labels of all tags that are understood, as results carry them, the background first."""
    shown = [label.shown for control in config.controls if kind_of(control) for label in control.labels]
    return (BACKGROUND, *dict.fromkeys(name for name in shown if name != BACKGROUND))


def chosen_annotation(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The annotation of a task that counts: the ground truth, else the newest; None where there is none."""
    listed = task.get("annotations")
    found = [
        annotation
        for annotation in (listed if isinstance(listed, list) else [])
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled")
    ]
    return max(found, key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at") or ""))) if found else None


def regions_of(annotation: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The regions of an annotation; none where it is None or malformed."""
    result = (annotation or {}).get("result")
    return [region for region in result if isinstance(region, Mapping)] if isinstance(result, list) else []


def images_in(
    task: Mapping[str, Any], config: LabelConfig
) -> Iterator[tuple[str, int | None, object, Mapping[str, LabelTag]]]:
    """The images of a task that have label tags: image tag, place in a list, what the data says, tags by name."""
    for image in config.images:
        controls = [control for control in config.controls if image.name in control.to_names]
        tags = {control.name: tag for control in controls if (tag := tag_of(control, image.name, (), 0)) is not None}
        if not tags:
            continue
        try:
            images = image_values(image, task["data"])
        except (KeyError, TypeError, AttributeError):
            images = [(None, None)]
        for place, value in images:
            yield image.name, place, value, tags


def _instances(
    result: Sequence[Mapping[str, Any]],
    image: str,
    place: int | None,
    size: tuple[int, int],
    tags: Mapping[str, LabelTag],
    names: tuple[str, ...],
) -> tuple[Instances, list[tuple[str, str]]]:
    """The regions of one image, and of those that cannot be read the id and the reason."""
    boxes, masks, labels, ids = [], [], [], []
    bad: list[tuple[str, str]] = []
    regions = [
        region for region in result if region.get("to_name") == image and (place or 0) == (region.get("item_index") or 0)
    ]
    others = []
    for region in regions:
        tag = tags.get(str(region.get("from_name")))
        if tag is None or region.get("type") != tag.kind.lower():
            others.append(region)
            continue
        try:
            if size_of(region) != size:
                raise AnnotationError(f"it is for an image of {size_of(region)[::-1]} pixels, the image has {size[::-1]}")
            box, mask, label = tag.decode_region(region)
        except AnnotationError as error:
            bad.append((str(region.get("id", "?")), str(error)))
            continue
        boxes.append(box)
        masks.append(mask)
        labels.append(names.index(label))
        ids.append(str(region.get("id", "")))
    known = {*ids, *(name for name, _ in bad)}
    for region in others:  # texts and choices of a region repeat its id and its place
        value = region.get("value")
        if isinstance(value, Mapping) and _PLACE & value.keys() and str(region.get("id", "?")) not in known:
            bad.append((str(region.get("id", "?")), f"regions of the type {region.get('type')!r} are not read"))
    instances = Instances(
        size=size,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        class_names=names,
        masks=tuple(masks),
        ids=tuple(ids),
    )
    return instances, bad


_PLACE = {"x", "points", "rle", "imageDataURL", "vertices"}
"""Keys of a region's value that say where it is."""
