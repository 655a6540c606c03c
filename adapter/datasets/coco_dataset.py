"""A COCO dataset on disk, a JSON file and a folder of images, as labeled images; and the way back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.coco import AnnotationError, box_of, read_segmentation
from maskbridge.adapter.datasets.coco_file import CocoImage, Id, id_of, parse_coco_file
from maskbridge.adapter.datasets.labeled_dataset import (
    LabeledDataset,
    LabeledImage,
    SkippedLabel,
    has_area,
    is_crowd,
    read_json,
)
from maskbridge.adapter.instances import BACKGROUND


def read_coco(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, *, split: str | None = None
) -> LabeledDataset:
    """Reads a COCO annotation file: polygons, run lengths, crowds, images without annotations.

    Nothing is dropped silently. Images without a file, annotations that cannot be used (a mask of another size, no box, an
    unknown image or category) and invalid polygons of a mask are skipped, with the reason. An object whose box is missing
    or has no area gets that of its mask. Crowds are kept: evaluation needs them, training skips them.

    Args:
        path: the JSON file.
        images: the folder of the images; by default the file's own folder, then ``images``, then ``data`` beside it.
        split: only images whose ``split`` in the file is this.

    Raises:
        DataError: the file is not COCO's format, it names no image (of that split), two images or two categories have the
            same id, or none of the images can be used.
    """
    return parse_coco(read_json(Path(path)), Path(path), None if images is None else Path(images), split=split)


def parse_coco(contents: Any, path: Path, images: Path | None, *, split: str | None = None) -> LabeledDataset:
    """`read_coco` of a file whose JSON has been read."""
    file = parse_coco_file(contents, path, images, split=split)
    names = (BACKGROUND, *dict.fromkeys(category.name for category in file.categories.values()))
    labels = {key: names.index(category.name) for key, category in file.categories.items()}
    labeled, skipped = [], list(file.skipped)
    for image in file.images:
        valid = []
        for annotation in image.annotations:
            try:
                valid.append(_checked_annotation(annotation, image, labels, skipped))
            except AnnotationError as error:
                skipped.append(SkippedLabel(image.name, str(annotation.get("id", "?")), str(error)))
        labeled.append(LabeledImage(image.path, image.name, image.size, names, tuple(valid), image.id))
    return LabeledDataset(
        tuple(labeled),
        names,
        tuple(skipped),
        file.skipped_images,
        file.notes,
        {key: category.name for key, category in file.categories.items()},
    )


def write_coco(path: Path, labeled: LabeledDataset) -> None:
    """Writes labeled images as a COCO annotation file; images stay where they are and are named by ``file_name``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> cat = Instances((2, 3), [[0, 0, 3, 2]], [1], (BACKGROUND, "cat"), [None])
        >>> with TemporaryDirectory() as folder:
        ...     write_coco(Path(folder) / "labels.json", labeled_images([("a.jpg", cat)]))
        ...     json.loads((Path(folder) / "labels.json").read_text())["categories"]
        [{'id': 1, 'name': 'cat'}]
    """
    names = labeled.class_names
    annotations: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for number, image in enumerate(labeled, start=1):
        height, width = image.size
        images.append({"id": number, "file_name": image.name, "height": height, "width": width})
        for annotation in image.instances.to_coco(number):
            label = names.index(image.class_names[annotation["category_id"]])
            _, _, w, h = annotation["bbox"]
            new = {"id": len(annotations) + 1, "category_id": label, "iscrowd": annotation.get("iscrowd", 0)}
            annotations.append(annotation | new | {"area": annotation.get("area", w * h)})
    categories = [{"id": label, "name": name} for label, name in enumerate(names) if label]
    contents = {"info": INFO, "images": images, "annotations": annotations, "categories": categories}
    text = json.dumps(contents)
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")


def _checked_annotation(
    annotation: Mapping[str, Any], image: CocoImage, labels: Mapping[Id, int], skipped: list[SkippedLabel]
) -> Mapping[str, Any]:
    """An annotation as `LabeledImage` stores it: a label for its category, its mask as an RLE. The mask is not decoded.

    Raises:
        AnnotationError: it is invalid.
    """
    category = id_of(annotation.get("category_id"))
    if category is None or category not in labels:
        raise AnnotationError(f"category {annotation.get('category_id')} is not in the categories")
    segmentation = read_segmentation(annotation.get("segmentation"), image.size)
    box = _box(annotation.get("bbox"), segmentation.rle)
    for reason in segmentation.invalid_parts:
        skipped.append(SkippedLabel(image.name, str(annotation.get("id", "?")), f"a part of its mask: {reason}"))
    fields = {name: value for name, value in annotation.items() if name not in _REPLACED}
    if not isinstance(fields.get("area", 0), (int, float)):
        del fields["area"]
    if "iscrowd" in fields:
        fields["iscrowd"] = int(is_crowd(annotation))
    mask = {} if segmentation.rle is None else {"segmentation": segmentation.rle}
    return fields | {"category_id": labels[category], "bbox": box} | mask


def _box(value: Any, rle: dict[str, Any] | None) -> list[float]:
    """An annotation's box; that of its mask if it is missing, invalid or has no area.

    Raises:
        AnnotationError: there is no mask, and the box is invalid.
    """
    try:
        box = box_of(value)
        if rle is None or has_area(box):
            return box
    except AnnotationError:
        if rle is None:
            raise
    return [float(side) for side in coco_mask.toBbox(rle)]


INFO = {"description": "written by maskbridge"}
"""The ``info`` of COCO files, without which `COCO.loadRes` of pycocotools 2.0.10 fails."""
_REPLACED = {"image_id", "category_id", "bbox", "segmentation", "score"}
