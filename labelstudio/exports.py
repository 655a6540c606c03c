"""A project's JSON export as a labeled dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, read_json
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.labelstudio.annotations import chosen_annotation, labeled_dataset, regions_of
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import ControlTag, ImageTag, Label, LabelConfig
from maskbridge.labelstudio.tags import TAGS


def read_export(path: Path, images: Path | None = None) -> LabeledDataset:
    """A project's JSON export, with its images in a folder (by default the export's own).

    An image is matched by the file name at the end of its address in the task, with or without the prefix that Label Studio
    adds to uploads (eight characters and a dash). The export does not hold the label config: the control tags and labels
    are those that its regions use.

    Raises:
        DataError: the file is not such an export, or none of its images is in the folder.
        MaskbridgeError: its regions are on more than one image tag.
    """
    return parse_export(read_json(path), path, images)


def parse_export(tasks: Any, path: Path, images: Path | None) -> LabeledDataset:
    """`read_export` of a file whose JSON has been read.

    Example:
        >>> parse_export([{"id": 1, "data": {"image": "/a.jpg"}, "annotations": []}], Path("export.json"), None)
        Traceback (most recent call last):
        ...
        maskbridge.adapter.datasets.labeled_dataset.DataError: the export has no region of a supported tag
    """
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise DataError(f"{path}: is not a JSON export of Label Studio (a list of tasks with data and annotations)")
    folder = images or path.parent
    dataset = labeled_dataset(tasks, _config_of(tasks), lambda value, task: _image_file(folder, value))
    if not len(dataset):
        first_reason = f": {dataset.skipped_images[0].reason}" if dataset.skipped_images else ""
        raise DataError(f"{path}: no annotated task with an image in {folder}{first_reason}")
    return dataset


def _image_file(folder: Path, value: object) -> Path:
    name = unquote(urlsplit(str(value)).path).replace("\\", "/").rpartition("/")[2]
    query = urlsplit(str(value)).query
    if query.startswith("d="):  # Label Studio's local files
        name = unquote(query[2:]).replace("\\", "/").rpartition("/")[2]
    for candidate in (name, name.partition("-")[2] if name[8:9] == "-" else ""):
        if candidate and candidate not in (".", "..") and (folder / candidate).is_file():
            return folder / candidate
    raise TaskImageError("not_found", f"{name or value!r} is not in {folder}")


def _config_of(tasks: list[dict[str, Any]]) -> LabelConfig:
    """A label config with the control tags and labels that an export's regions use."""
    controls: dict[tuple[str, str], dict[str, None]] = {}
    images: set[str] = set()
    for task in tasks:
        for region in regions_of(chosen_annotation(task)):
            kind = next((kind for kind in TAGS if kind.matches(str(region.get("type")))), None)
            value = region.get("value")
            if kind is None or not isinstance(value, dict):
                continue
            key = (kind.kind, str(region.get("from_name")))
            labels = value.get(kind.kind.lower())
            controls.setdefault(key, {}).update(dict.fromkeys(map(str, labels if isinstance(labels, list) else ())))
            images.add(str(region.get("to_name")))
    if not images:
        raise DataError("the export has no region of a supported tag")
    if len(images) > 1:
        raise MaskbridgeError("the export labels several images of a task: name the project itself, as in label-studio:12")
    (image,) = images
    data = tasks[0]["data"]
    candidates = [name for name, value in data.items() if (isinstance(value, str) and "/" in value) or name == image]
    field = next((name for name in ("image", "photo", "img", *candidates) if name in data), next(iter(data), "image"))
    return LabelConfig(
        images=(ImageTag(image, field),),
        controls=tuple(
            ControlTag(tag=kind, name=name, to_names=(image,), labels=tuple(Label(label, label) for label in labels))
            for (kind, name), labels in controls.items()
        ),
    )
