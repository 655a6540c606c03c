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

    An image is found by the name at the end of its address in the task; the name that Label Studio put before an upload's
    (eight letters and a dash) may be there or not. The export does not hold the label config: tags are those of its
    regions, labels those that were used.

    Raises:
        DataError: the file is not such an export, or none of its images is in the folder.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise DataError(f"{path}: is not a JSON export of Label Studio's (a list of tasks with data and annotations)")
    where = images or path.parent
    found = labeled_dataset(tasks, _config_of(tasks), lambda value, task: _in_folder(where, value))
    if not len(found):
        first = f": {found.skipped[0].reason}" if found.skipped else ""
        raise DataError(f"{path}: no annotated task with an image in {where}{first}")
    return found


def _in_folder(where: Path, value: object) -> Path:
    name = unquote(urlsplit(str(value)).path).replace("\\", "/").rpartition("/")[2]
    query = urlsplit(str(value)).query
    if query.startswith("d="):  # Label Studio's local files
        name = unquote(query[2:]).replace("\\", "/").rpartition("/")[2]
    for candidate in (name, name.partition("-")[2] if name[8:9] == "-" else ""):
        if candidate and candidate not in (".", "..") and (where / candidate).is_file():
            return where / candidate
    raise TaskImageError("not_found", f"{name or value!r} is not in {where}")


def _config_of(tasks: list[dict[str, Any]]) -> LabelConfig:
    """The label config that an export's regions follow."""
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
        raise DataError("the export has no region of brush, bitmask, polygon or rectangle labels")
    if len(images) > 1:
        raise MaskbridgeError("the export labels several images of a task: train from the project itself (--label-studio)")
    (image,) = images
    data = tasks[0]["data"]
    named = [name for name, value in data.items() if (isinstance(value, str) and "/" in value) or name == image]
    field = next((name for name in ("image", "photo", "img", *named) if name in data), next(iter(data), "image"))
    return LabelConfig(
        images=(ImageTag(image, field),),
        controls=tuple(
            ControlTag(tag=kind, name=name, to_names=(image,), labels=tuple(Label(label, label) for label in labels))
            for (kind, name), labels in controls.items()
        ),
    )
