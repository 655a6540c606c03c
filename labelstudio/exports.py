"""A project's JSON export as a labeled dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, read_json
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.labelstudio.annotations import chosen_annotation, labeled_dataset, regions_of
from maskbridge.labelstudio.client import loggable
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import ControlTag, ImageTag, Label, LabelConfig
from maskbridge.labelstudio.tags import TAGS
from maskbridge.labelstudio.variables import as_list


def read_export(path: Path, images: Path | None = None) -> LabeledDataset:
    """A project's JSON export, with its images in a folder (by default the export's own).

    An image is matched by the file name at the end of its address in the task, with or without the prefix that Label Studio
    adds to uploads (eight characters and a dash). The export does not hold the label config: the control tags and labels
    are those that its regions use, and the images are in the field of the tasks' data, also a nested one or a list, whose
    texts name the most files in the folder.

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
    controls = _controls_of(tasks)
    field = _image_field([task["data"] for task in tasks], folder)
    is_list = "[]" in field
    if (
        not is_list
        and len({str(region.get("to_name")) for task in tasks for region in regions_of(chosen_annotation(task))}) > 1
    ):
        raise MaskbridgeError("the export labels several images of a task: name the project itself, as in label-studio:12")
    config = LabelConfig((ImageTag(_IMAGE, "$images" if is_list else "$image", is_list),), controls)
    rewritten = [_rewritten(task, field, is_list=is_list) for task in tasks]
    dataset = labeled_dataset(rewritten, config, lambda value, task: _image_file(folder, value))
    if not len(dataset):
        first_reason = f": {dataset.skipped_images[0].reason}" if dataset.skipped_images else ""
        raise DataError(f"{path}: no annotated task with an image in {folder}{first_reason}")
    return dataset


def _image_file(folder: Path, value: object) -> Path:
    file, name = _file_of(folder, value)
    if file is None:
        raise TaskImageError("not_found", f"{name or loggable(str(value))!r} is not in {folder}")
    return file


def _file_of(folder: Path, value: object) -> tuple[Path | None, str]:
    """The file in the folder that an address names, or None; and the file's name in the address."""
    try:
        address = urlsplit(str(value))
    except ValueError:  # another text of the task
        return None, ""
    local_file = address.query.removeprefix("d=") if address.query.startswith("d=") else ""
    name = unquote(local_file or address.path).replace("\\", "/").rpartition("/")[2]
    for candidate in (name, name.partition("-")[2] if name[8:9] == "-" else ""):
        is_name = 0 < len(candidate.encode(errors="replace")) < 256 and candidate not in (".", "..")
        if is_name and (folder / candidate).is_file():
            return folder / candidate, name
    return None, name


_MAX_ITEMS = 10_000
"""Maximum number of images of a task."""
_IMAGE = "image"
"""The name of the one image tag that the tasks are rewritten to."""


def _controls_of(tasks: Sequence[Mapping[str, Any]]) -> tuple[ControlTag, ...]:
    """The control tags and labels that an export's regions use."""
    labels: dict[tuple[str, str, bool], dict[str, None]] = {}
    unsupported: Counter[str] = Counter()
    for task in tasks:
        for region in regions_of(chosen_annotation(task)):
            value, kind = region.get("value"), str(region.get("type"))
            value, generic = value if isinstance(value, dict) else {}, kind == "labels"
            shape = next((t for t in TAGS if (t.shape_key in value if generic else t.kind.lower() == kind)), None)
            if shape is None or not value:
                unsupported[kind] += 1
                continue
            given = value.get(kind)
            tag = (shape.generic_type() if generic else shape.kind, str(region.get("from_name")), generic)
            labels.setdefault(tag, {}).update(dict.fromkeys(map(str, given if isinstance(given, list) else ())))
    if not labels:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in unsupported.most_common(10))
        raise DataError(f"the export has no region of a supported tag{f': it has {kinds}' if kinds else ''}")
    return tuple(
        ControlTag(
            tag=tag,
            name=name,
            to_names=(_IMAGE,),
            labels=tuple(Label(label, label) for label in names),
            labels_name=name if generic else None,
        )
        for (tag, name, generic), names in labels.items()
    )


def _image_field(data: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """The field whose texts name files in the folder in the most tasks: ``image``, ``sample.image``, ``pages[].url``, …"""
    counts: Counter[str] = Counter()
    for values in data:
        texts = list(_texts(values))
        counts.update({field: 0 for field, _, _ in texts})
        counts.update({field for field, _, text in texts if _file_of(folder, text)[0] is not None})
    preferred = (
        "image",
        "photo",
        "img",
        *(field for values in data[:1] for field, _, text in _texts(values) if "/" in text),
    )
    return max(counts, key=lambda field: (counts[field], field in preferred), default="image")


def _texts(value: Any, field: str = "", index: int = 0) -> Iterator[tuple[str, int, str]]:
    """The texts in a task's data: the field, the index in the list, the text."""
    if isinstance(value, str):
        listed = as_list(value)
        if listed is None:
            yield field, index, value
        else:
            value = listed
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{field}.{name}" if field else str(name), index)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{field}[]", index if "[]" in field else number)


def _rewritten(task: Mapping[str, Any], field: str, *, is_list: bool) -> dict[str, Any]:
    """A task as one of a config with one image tag: its images in one field, its regions on that tag."""
    values = {index: text for name, index, text in _texts(task["data"]) if name == field}
    annotation = chosen_annotation(task)
    regions = [{**region, "to_name": _IMAGE} for region in regions_of(annotation)]
    if is_list:
        regions = [
            {**region, "item_index": _item_index(original)} for region, original in zip(regions, regions_of(annotation))
        ]
    last = max([*values, *(region.get("item_index") or 0 for region in regions)], default=-1)
    images = [values.get(index) for index in range(last + 1)]
    data = {"images": images} if is_list else {"image": images[0] if images else None}
    return {**task, "data": data, "annotations": [] if annotation is None else [{**annotation, "result": regions}]}


def _item_index(region: Mapping[str, Any]) -> int:
    """The index of a region's image in a list: its own, else the number at the end of its image tag's name, as a
    ``<Repeater>`` makes it."""
    name, index = str(region.get("to_name")), region.get("item_index")
    digits = name[len(name.rstrip("0123456789")) :]
    if isinstance(index, int) and 0 <= index < _MAX_ITEMS:
        return index
    return int(digits) if digits and len(digits) < 5 else 0
