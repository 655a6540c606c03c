"""The result files of ``maskbridge predict``, streamed from its journal: COCO's results, and a COCO dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.datasets.coco_dataset import INFO

RESULTS = "predictions.json"
DATASET = "dataset.json"


def write_results(folder: Path, entries: Iterable[Mapping[str, Any]], class_names: Mapping[str, str]) -> None:
    """Writes `RESULTS`: a list of COCO results, which ``COCO.loadRes`` reads, with the names of image and class.

    Args:
        folder: the folder.
        entries: of the journal, in the order of the images; those of failed images have no ``results``.
        class_names: the class name of each category id, as JSON writes the id.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> entry = {"name": "a.jpg", "image_id": 1, "results": [{"category_id": 3, "bbox": [0, 0, 2, 2], "score": 0.5}]}
        >>> with TemporaryDirectory() as folder:
        ...     write_results(Path(folder), [entry], {"3": "car"})
        ...     json.loads((Path(folder) / RESULTS).read_text())[0]["category_name"]
        'car'
    """
    with atomic_write(folder / RESULTS) as path, path.open("w", encoding="utf-8") as file:
        file.write("[")
        _write_rows(
            file,
            (
                {
                    "image_id": entry["image_id"],
                    **result,
                    "file_name": entry["name"],
                    "category_name": class_names[json.dumps(result["category_id"])],
                }
                for entry in entries
                for result in entry.get("results", ())
            ),
        )
        file.write("]\n")


def write_dataset(folder: Path, entries: Iterable[Mapping[str, Any]], categories: Mapping[str, int | str]) -> None:
    """Writes `DATASET`: images, categories and annotations with scores, which importers of COCO datasets read.

    Args:
        folder: the folder.
        entries: as for `write_results`; iterated twice.
        categories: the category id of each class name.
    """
    with atomic_write(folder / DATASET) as path, path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps(INFO)},\n"images": [')
        _write_rows(file, (_image(entry) for entry in entries if "results" in entry))
        rows = [{"id": number, "name": name} for name, number in categories.items()]
        file.write(f'],\n"categories": {json.dumps(rows)},\n"annotations": [')
        _write_rows(file, ({"id": number, **row} for number, row in enumerate(_annotations(entries), start=1)))
        file.write("]}\n")


def _image(entry: Mapping[str, Any]) -> dict[str, Any]:
    height, width = entry["size"]
    return {"id": entry["image_id"], "file_name": entry["name"], "height": height, "width": width}


def _annotations(entries: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for result, area in zip(entry.get("results", ()), entry.get("areas", ())):
            yield {"image_id": entry["image_id"], **result, "area": area, "iscrowd": 0}


def _write_rows(file: IO[str], rows: Iterable[Mapping[str, Any]]) -> None:
    separator = "\n"
    for row in rows:
        file.write(separator + json.dumps(row))
        separator = ",\n"
