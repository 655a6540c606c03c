"""Predictions in a file, of `maskbridge predict` or of another tool, for labeled images: COCO results or a COCO dataset."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskbridge.adapter.coco import AnnotationError, box_of, read_segmentation
from maskbridge.adapter.datasets.coco_file import id_of
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, LabeledImage, SkippedLabel, read_json
from maskbridge.adapter.instances import Instances


@dataclass(frozen=True)
class PredictionFile:
    """Predictions for the images of a labeled dataset.

    Attributes:
        rows: for each image its predictions, as COCO annotations with labels as category ids.
        class_names: of the predictions, beginning with those of the labels.
        skipped: predictions that cannot be used.
    """

    rows: Sequence[Sequence[Mapping[str, Any]]] = field(repr=False)
    class_names: tuple[str, ...]
    skipped: tuple[SkippedLabel, ...]

    def instances(self, labeled: LabeledDataset) -> Iterator[Instances]:
        """The predictions of each image, in order."""
        names = dict(enumerate(self.class_names))
        for image, rows in zip(labeled, self.rows):
            yield Instances.from_coco(rows, image.size, names) if rows else Instances.empty(image.size, self.class_names)


def read_predictions(path: Path, labeled: LabeledDataset) -> PredictionFile:
    """Reads COCO results (a list), or a COCO dataset whose annotations have scores, for labeled images.

    Images are matched by ``file_name`` if the predictions have it (their path, or the end of it), else by the ids of the
    labels' COCO file; classes by ``category_name``, else by those of its categories.

    Raises:
        DataError: the file cannot be read, or its ids mean nothing since the labels are no COCO file.

    Example:
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> read_predictions(Path("nosuch.json"), labeled_images([]))
        Traceback (most recent call last):
        maskbridge.adapter.datasets.labeled_dataset.DataError: nosuch.json: cannot be read (No such file or directory)
    """
    results = _results(read_json(path), path)
    images = _Images(labeled)
    names = list(labeled.class_names)
    labels = {name: label for label, name in enumerate(names)}
    rows: list[list[Mapping[str, Any]]] = [[] for _ in labeled]
    skipped = []
    for number, result in enumerate(results):
        image_name = str(result.get("file_name", f"image {result.get('image_id')}"))
        try:
            index, name = images.index_of(result, path), _class_name(result, labeled, path)
            if name not in labels:
                labels[name] = len(names)
                names.append(name)
            rows[index].append(_row(result, labels[name], labeled[index]))
        except AnnotationError as error:
            skipped.append(SkippedLabel(image_name, str(result.get("id", number)), str(error)))
    return PredictionFile(rows, tuple(names), tuple(skipped))


def _results(contents: Any, path: Path) -> list[Mapping[str, Any]]:
    """The predictions of a file; those of a COCO dataset with the names of image and class."""
    if isinstance(contents, dict) and isinstance(contents.get("annotations"), list):
        images, categories = (
            {id_of(record.get("id")): record for record in contents.get(key, ()) if isinstance(record, dict)}
            for key in ("images", "categories")
        )
        contents = [
            {
                **annotation,
                "file_name": images.get(id_of(annotation.get("image_id")), {}).get("file_name"),
                "category_name": categories.get(id_of(annotation.get("category_id")), {}).get("name"),
            }
            for annotation in contents["annotations"]
            if isinstance(annotation, dict)
        ]
    if not isinstance(contents, list) or not all(isinstance(result, dict) for result in contents):
        raise DataError(f"{path}: is neither COCO results (a list) nor a COCO dataset with scores")
    return contents


class _Images:
    """Finds the image of a result."""

    def __init__(self, labeled: LabeledDataset) -> None:
        self.names = {image.name: index for index, image in enumerate(labeled)}
        self.ids = {id_of(image.image_id): i for i, image in enumerate(labeled) if image.image_id is not None}
        self.by_file: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for index, image in enumerate(labeled):
            if isinstance(image.image, (str, Path)):
                path = Path(image.image).as_posix()
                self.by_file[path.rpartition("/")[2]].append((path, index))

    def index_of(self, result: Mapping[str, Any], path: Path) -> int:
        """The index of a result's image.

        Raises:
            AnnotationError: no image, or more than one, is meant.
            DataError: the result has an id, and the images have none.
        """
        if (name := result.get("file_name")) is None:
            if not self.ids:
                raise DataError(f"{path}: names images by their ids only, which these labels do not have: use dataset.json")
            key = id_of(result.get("image_id"))
            if key not in self.ids:
                raise AnnotationError(f"the labels have no image {result.get('image_id')}")
            return self.ids[key]
        name = str(name).replace("\\", "/")
        if name in self.names:
            return self.names[name]
        matches = {i for file, i in self.by_file[name.rpartition("/")[2]] if file == name or file.endswith(f"/{name}")}
        if len(matches) != 1:
            raise AnnotationError("the labels have no such image" if not matches else f"{len(matches)} images end so")
        return matches.pop()


def _class_name(result: Mapping[str, Any], labeled: LabeledDataset, path: Path) -> str:
    if isinstance(name := result.get("category_name"), str):
        return name
    if not labeled.category_names:
        raise DataError(f"{path}: names classes by their ids only, which these labels do not have: use dataset.json")
    key = id_of(result.get("category_id"))
    if key is None or key not in labeled.category_names:
        raise AnnotationError(f"category {result.get('category_id')} is not in the labels' categories")
    return labeled.category_names[key]


def _row(result: Mapping[str, Any], label: int, image: LabeledImage) -> dict[str, Any]:
    """A result as `Instances.from_coco` takes it."""
    score = result.get("score")
    if not isinstance(score, (int, float)) or isinstance(score, bool) or not math.isfinite(score):
        raise AnnotationError(f"its score is {score!r}, not a number")
    mask = read_segmentation(result.get("segmentation"), image.size)
    if mask.invalid_parts:
        raise AnnotationError(mask.invalid_parts[0])
    row: dict[str, Any] = {"category_id": label, "score": score}
    if mask.rle is not None:
        row["segmentation"] = mask.rle
    if result.get("bbox") or mask.rle is None:
        row["bbox"] = box_of(result.get("bbox"))
    return row
