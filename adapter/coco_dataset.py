"""A COCO dataset on disk, a JSON file and a folder of photos, as labelled photos; and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.files import replacing
from maskbridge.adapter.instances import BACKGROUND, Instances
from maskbridge.adapter.labelled import DataError, LabelledPhoto, LabelledPhotos, Unusable, read_json


def read_coco(path: Path, photos: Path | None = None, *, split: str | None = None) -> LabelledPhotos:
    """Reads a COCO annotation file: polygons, run lengths, crowds, photos without annotations.

    Annotations that are broken (a mask of another size, a box that is no box, an unknown category) are left out, with the
    reason. Crowds are kept: measuring needs them, training leaves them out.

    Args:
        path: the JSON file.
        photos: the folder of the photos; by default ``images`` beside the file, or the file's own folder.
        split: only photos whose ``split`` in the file is this.

    Raises:
        DataError: the file is not COCO's format, it names no photo (of that split), or photos are missing.
    """
    listing = _listing(path)
    folder = photos or (path.parent / "images" if (path.parent / "images").is_dir() else path.parent)
    try:
        categories = {int(c["id"]): str(c["name"]) for c in sorted(listing["categories"], key=lambda c: int(c["id"]))}
        images = [image for image in listing["images"] if split is None or image.get("split") == split]
        annotations: dict[Any, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
        for annotation in listing["annotations"]:
            if (of_image := annotations.get(annotation["image_id"])) is not None:
                of_image.append(annotation)
        files = {image["id"]: _inside(folder, str(image["file_name"])) for image in images}
        sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in images}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is not COCO's format ({type(error).__name__}: {error})") from None
    if not images:
        raise DataError(f"{path}: names no photo" + ("" if split is None else f" of the split {split!r}"))
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(f"{path}: {len(missing)} of its {len(images)} photos are not in {folder}: {shown}")
    names = (BACKGROUND, *categories.values())
    found, unusable = [], []
    for number, file in files.items():
        good, bad = _checked(annotations[number], sizes[number], categories)
        unusable += [Unusable(file.name, label, reason) for label, reason in bad]
        instances = Instances.from_coco(good, sizes[number], categories)
        found.append(LabelledPhoto.of(file, replace(instances, labels=instances.labels + 1, class_names=names)))
    return LabelledPhotos(tuple(found), names, tuple(unusable))


def write_coco(path: Path, labelled: LabelledPhotos) -> None:
    """Writes labelled photos as a COCO annotation file; photos stay where they are and are named by ``file_name``."""
    names = labelled.class_names
    annotations: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for number, photo in enumerate(labelled, start=1):
        height, width = photo.size
        images.append({"id": number, "file_name": photo.name, "height": height, "width": width})
        for annotation in photo.instances.to_coco(number):
            label = names.index(photo.class_names[annotation["category_id"]])
            _, _, w, h = annotation["bbox"]
            others = {"id": len(annotations) + 1, "category_id": label, "iscrowd": annotation.get("iscrowd", 0)}
            annotations.append(annotation | others | {"area": annotation.get("area", w * h)})
    categories = [{"id": label, "name": name} for label, name in enumerate(names) if label]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")


def _listing(path: Path) -> Mapping[str, Any]:
    listing = read_json(path)
    if not isinstance(listing, dict) or not {"images", "annotations", "categories"} <= listing.keys():
        raise DataError(f"{path}: is not COCO's format (images, annotations and categories)")
    return listing


def _inside(folder: Path, name: str) -> Path:
    """A photo's path; a file may not name one outside of the folder."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or not name:
        raise DataError(f"the photo {name!r} is not below the folder of the photos")
    return folder / name


def _checked(
    annotations: Sequence[Mapping[str, Any]], size: tuple[int, int], categories: Mapping[int, str]
) -> tuple[list[Mapping[str, Any]], list[tuple[str, str]]]:
    """The annotations that can be read, and of the others the label and the reason."""
    good: list[Mapping[str, Any]] = []
    bad: list[tuple[str, str]] = []
    for annotation in annotations:
        try:
            Instances.from_coco([annotation], size, categories)
            good.append(annotation)
        except AnnotationError as error:
            bad.append((str(annotation.get("id", "?")), str(error)))
    return good, bad
