"""A COCO annotation file as it is: images with their files, categories, and the annotations of each image.

Ids are compared as numbers: 1, 1.0 and "1" are the same id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskbridge.adapter.datasets.image_paths import ImagePath, find_file
from maskbridge.adapter.datasets.labeled_dataset import DataError, SkippedImage, SkippedLabel
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import MAX_PIXELS, read_size

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file.

    Attributes:
        id: as in the file.
        path: the image's file.
        name: its path below the folder of the images.
        size: (H, W), by the file, else by the image's header.
        annotations: of this image, as in the file.
    """

    id: Id
    path: Path
    name: str
    size: tuple[int, int]
    annotations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Category:
    """A category of a COCO file, with its id as in the file."""

    id: Id
    name: str


@dataclass(frozen=True)
class CocoFile:
    """A COCO file.

    Attributes:
        images: those whose file exists, in the file's order.
        categories: by their id as `id_of` compares it, in ascending order.
        skipped_images: images that cannot be used.
        skipped: annotations of no image.
        notes: what else the reader should know, such as a category name that appears twice.
    """

    images: tuple[CocoImage, ...]
    categories: Mapping[Id, Category]
    skipped_images: tuple[SkippedImage, ...] = ()
    skipped: tuple[SkippedLabel, ...] = ()
    notes: tuple[str, ...] = ()


def parse_coco_file(contents: Any, path: Path, images: Path | None, *, split: str | None = None) -> CocoFile:
    """The parts of a COCO file whose JSON has been read.

    Args:
        contents: the JSON.
        path: the file, for messages.
        images: the folder of the images; by default the file's own folder, then ``images``, then ``data`` beside it.
        split: only images whose ``split`` in the file is this.

    Raises:
        DataError: it is not COCO's format, two images or categories have one id, or no image can be used.

    Example:
        >>> parse_coco_file({"images": []}, Path("labels.json"), None)
        Traceback (most recent call last):
        maskbridge.adapter.datasets.labeled_dataset.DataError: labels.json: is not COCO's format (it has no categories)
    """
    if not isinstance(contents, dict):
        raise DataError(f"{path}: is not COCO's format (an object with images, annotations and categories)")
    records, categories, annotations = (_records(contents, name, path) for name in ("images", "categories", "annotations"))
    notes: list[str] = []
    by_id = {key: Category(c["id"], str(c.get("name", key))) for key, c in _by_id(categories, path, notes).items()}
    for name, count in Counter(category.name for category in by_id.values()).items():
        if count > 1:
            notes.append(f"{count} categories have the name {name!r}: they are one class")
    all_images = _by_id(records, path, notes)
    chosen = {key: r for key, r in all_images.items() if split is None or r.get("split") == split}
    if not chosen:
        raise DataError(f"{path}: names no image" + ("" if split is None else f" of the split {split!r}"))
    of_images: dict[Id, list[Mapping[str, Any]]] = {key: [] for key in chosen}
    orphans = []
    for annotation in annotations:
        key = id_of(annotation.get("image_id"))
        if key is None or key not in all_images:
            reason = "it is of an image that the file does not list"
            orphans.append(SkippedLabel(f"image {annotation.get('image_id')}", str(annotation.get("id", "?")), reason))
        elif key in of_images:
            of_images[key].append(annotation)
    folders = [images] if images is not None else [path.parent, path.parent / "images", path.parent / "data"]
    located = {key: find_file(str(r.get("file_name", "")), folders, path.parent) for key, r in chosen.items()}
    claims = Counter(image.path for image in located.values() if image is not None)
    usable, skipped = [], []
    for key, record in chosen.items():
        try:
            usable.append(_image(record, located[key], claims, folders, tuple(of_images[key])))
        except ImageError as error:
            skipped.append(SkippedImage(str(record.get("file_name", f"image {key}")), error.reason, len(of_images[key])))
    if not usable:
        reasons = "; ".join(f"{image.name}: {image.reason}" for image in skipped[:3]) + ("; …" if len(skipped) > 3 else "")
        raise DataError(f"{path}: none of its {len(skipped)} images can be used: {reasons}")
    categories_in_order = dict(sorted(by_id.items(), key=lambda pair: (isinstance(pair[0], str), pair[0])))
    return CocoFile(tuple(usable), categories_in_order, tuple(skipped), tuple(orphans), tuple(notes))


def id_of(value: object) -> Id | None:
    """An id as it is compared: 1, 1.0 and "1" are the same; None if the value is neither a whole number nor text.

    Example:
        >>> id_of("1"), id_of(1.0), id_of("a1"), id_of(None), id_of(True)
        (1, 1, 'a1', None, None)
    """
    if isinstance(value, str):
        text = value.strip()
        return int(float(text)) if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})(\.0+)?", text) else text or None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        return None
    return int(value)


def _records(contents: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    if name not in contents and name != "annotations":  # a list of images without labels has no annotations
        raise DataError(f"{path}: is not COCO's format (it has no {name})")
    records = contents.get(name, [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path}: is not COCO's format ({name} is not a list of objects)")
    return records


def _by_id(records: Sequence[Mapping[str, Any]], path: Path, notes: list[str]) -> dict[Id, Mapping[str, Any]]:
    """Images or categories by their id; those without a usable id are ignored, with a note."""
    by_id: dict[Id, Mapping[str, Any]] = {}
    for record in records:
        key = id_of(record.get("id"))
        if key is None:
            notes.append(f"{_described(record)} is ignored: its id {record.get('id')!r} is neither a whole number nor text")
        elif key in by_id:
            both = f"{_described(by_id[key])} and {_described(record)}"
            raise DataError(f"{path}: {both} have the same id {record['id']!r}: no label can be assigned to one of them")
        else:
            by_id[key] = record
    return by_id


def _described(record: Mapping[str, Any]) -> str:
    is_image = "file_name" in record
    return ("the image " if is_image else "the category ") + repr(record.get("file_name" if is_image else "name"))


def _image(
    record: Mapping[str, Any],
    located: ImagePath | None,
    claims: Mapping[Path, int],
    folders: Sequence[Path],
    annotations: tuple[Mapping[str, Any], ...],
) -> CocoImage:
    """An image of the file, or an `ImageError` if it cannot be used."""
    if not record.get("file_name"):
        raise ImageError("it has no file_name")
    if located is None:
        raise ImageError(f"it is not in {', '.join(map(str, folders))}")
    if not located.exact and claims[located.path] > 1:
        raise ImageError(f"its folder is missing, and another image of the file is {located.name} as well")
    try:
        height, width = int(record["height"]), int(record["width"])
    except (KeyError, TypeError, ValueError, OverflowError):
        height, width = 0, 0
    if height < 1 or width < 1:
        height, width = read_size(located.path)
    if height * width > MAX_PIXELS:
        raise ImageError(f"an image cannot be {width} x {height} pixels")
    return CocoImage(record["id"], located.path, located.name, (height, width), annotations)
