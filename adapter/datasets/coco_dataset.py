"""A COCO dataset on disk, a JSON file and a folder of images, as labeled images; and the way back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as coco_mask

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.coco import AnnotationError, box_of, rle_of
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, LabeledImage, SkippedLabel, read_json
from maskbridge.adapter.images import MAX_PIXELS
from maskbridge.adapter.instances import BACKGROUND


def read_coco(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, *, split: str | None = None
) -> LabeledDataset:
    """Reads a COCO annotation file: polygons, run lengths, crowds, images without annotations.

    Invalid annotations (a mask of another size, a malformed box, an unknown category) are skipped, with the
    reason. Crowds are kept: evaluation needs them, training skips them.

    Args:
        path: the JSON file.
        images: the folder of the images; by default ``images`` beside the file, or the file's own folder.
        split: only images whose ``split`` in the file is this.

    Raises:
        DataError: the file is not COCO's format, it names no image (of that split), or images are missing.
    """
    return parse_coco(read_json(Path(path)), Path(path), None if images is None else Path(images), split=split)


def parse_coco(contents: Any, path: Path, images: Path | None, *, split: str | None = None) -> LabeledDataset:
    """`read_coco` of a file whose JSON has been read."""
    if not isinstance(contents, dict) or not {"images", "annotations", "categories"} <= contents.keys():
        raise DataError(f"{path}: is not COCO's format (images, annotations and categories)")
    default = path.parent / "images"
    folder = images if images is not None else default if default.is_dir() else path.parent
    try:
        categories = {int(c["id"]): str(c["name"]) for c in sorted(contents["categories"], key=lambda c: int(c["id"]))}
        records = [image for image in contents["images"] if split is None or image.get("split") == split]
        annotations: dict[Any, list[Mapping[str, Any]]] = {image["id"]: [] for image in records}
        for annotation in contents["annotations"]:
            if (of_image := annotations.get(annotation["image_id"])) is not None:
                of_image.append(annotation)
        files = {image["id"]: _image_path(folder, str(image["file_name"])) for image in records}
        sizes = {image["id"]: _image_size(image) for image in records}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is not COCO's format ({type(error).__name__}: {error})") from None
    if not records:
        raise DataError(f"{path}: names no image" + ("" if split is None else f" of the split {split!r}"))
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(f"{path}: {len(missing)} of its {len(records)} images are not in {folder}: {shown}")
    names = (BACKGROUND, *categories.values())
    labels = {category: label for label, category in enumerate(categories, start=1)}
    labeled_images, skipped = [], []
    for number, file in files.items():
        valid = []
        for annotation in annotations[number]:
            try:
                valid.append(_checked_annotation(annotation, sizes[number], labels))
            except AnnotationError as error:
                skipped.append(SkippedLabel(file.name, str(annotation.get("id", "?")), str(error)))
        labeled_images.append(LabeledImage(file, file.name, sizes[number], names, tuple(valid)))
    return LabeledDataset(tuple(labeled_images), names, tuple(skipped))


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
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    with atomic_write(path) as file:
        file.write_text(text, encoding="utf-8")


def _image_path(folder: Path, name: str) -> Path:
    """An image's path; the annotation file may not name one outside of the folder."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or not name:
        raise DataError(f"the image {name!r} is not below the folder of the images")
    return folder / name


def _image_size(image: Mapping[str, Any]) -> tuple[int, int]:
    """An image's (H, W) in the file."""
    height, width = int(image["height"]), int(image["width"])
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise DataError(f"the image {image['file_name']!r} cannot be {width} x {height} pixels")
    return height, width


def _checked_annotation(
    annotation: Mapping[str, Any], size: tuple[int, int], labels: Mapping[int, int]
) -> Mapping[str, Any]:
    """An annotation as `LabeledImage` stores it: a label for its category, its mask as an RLE. The mask is not decoded.

    Raises:
        AnnotationError: it is invalid.
    """
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in labels:
        raise AnnotationError(f"category {category} is not in the categories")
    mask = rle_of(annotation.get("segmentation"), size)
    box = annotation.get("bbox")
    if box is None and mask is not None:
        box = coco_mask.toBbox(mask).tolist()
    fields = {name: value for name, value in annotation.items() if name not in _REPLACED}
    if not isinstance(fields.get("area", 0), (int, float)):
        del fields["area"]
    return fields | {"category_id": labels[category], "bbox": box_of(box)} | ({"segmentation": mask} if mask else {})


_REPLACED = {"image_id", "category_id", "bbox", "segmentation", "score"}
