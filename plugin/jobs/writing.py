"""Writes labels: into the database, with masks in it or as PNGs in a folder, or as polylines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import fiftyone as fo
import numpy as np
from PIL import Image

from maskbridge.adapter import Instances
from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.plugin.labels import to_detections, to_polylines
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest


def to_labels(instances: Instances, request: SegmentInstancesRequest, name: str) -> fo.Label:
    """The labels of one image in the requested form; PNGs are written as ``<name>-<number>.png``."""
    if request.masks == "polylines":
        return to_polylines(instances)
    labels = to_detections(instances)
    if request.masks == "folder":
        _export(labels, folder_of(request), name)
    return labels


def label_type(request: SegmentInstancesRequest) -> type[fo.Label]:
    """The type of the field that a run writes.

    Example:
        >>> label_type(SegmentInstancesRequest(masks="polylines")).__name__
        'Polylines'
    """
    return fo.Polylines if request.masks == "polylines" else fo.Detections


def folder_of(request: SegmentInstancesRequest) -> Path:
    """The folder of a run's PNGs, named by the field.

    Example:
        >>> folder_of(SegmentInstancesRequest(label_field="a/b", masks="folder", mask_folder="/masks")).name
        'a%2Fb'
    """
    name = re.sub(r"[%/\\]", lambda match: f"%{ord(match.group()):02X}", request.label_field)
    return Path(str(request.mask_folder)) / name


def write(dataset: fo.Dataset, field: str, labels: Mapping[str, fo.Label]) -> None:
    """Sets a field of samples by their ids, in one request to the database."""
    dataset.set_values(field, dict(labels), key_field="id", progress=False)


def _export(labels: fo.Detections, folder: Path, name: str) -> None:
    """Writes masks as PNGs of 0 and 255 over those of an earlier run, whose remaining ones are deleted."""
    for index, detection in enumerate(labels.detections):
        path = folder / f"{name}-{index}.png"
        with atomic_write(path) as file:
            Image.fromarray(np.asarray(detection.mask).astype(np.uint8) * 255).save(file, format="PNG", compress_level=1)
        detection.mask, detection.mask_path = None, str(path)
    first = last = len(labels.detections)
    while (folder / f"{name}-{last}.png").exists():  # numbers have no gaps, so the folder is not listed
        last += 1
    for index in reversed(range(first, last)):  # from the end, so that a killed run leaves no gap
        (folder / f"{name}-{index}.png").unlink()


def discard(request: SegmentInstancesRequest, sample_ids: Iterable[str]) -> None:
    """Deletes the PNGs of deleted samples."""
    folder, deleted = folder_of(request), set(sample_ids)
    if request.masks != "folder" or not folder.is_dir():
        return
    for path in folder.glob("*.png"):
        if path.name.split("-", 1)[0] in deleted:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
