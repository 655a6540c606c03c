"""An interruptible run of ``maskbridge predict``: a journal beside the results lists the finished images."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskbridge.adapter import ImageError, Instances, MaskRCNN
from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.drawing import draw
from maskbridge.adapter.images import read_each
from maskbridge.adapter.journal import Journal
from maskbridge.adapter.polygons import to_polygons
from maskbridge.adapter.settings import Settings
from maskbridge.cli.predictions.image_files import ImageFile
from maskbridge.cli.predictions.result_files import write_dataset, write_results

JOURNAL = ".maskbridge-run.jsonl"
_WRITERS = 2
_WAITING = 8
"""Batches that may wait to be written: then the network waits too, so memory stays flat."""


@dataclass(frozen=True)
class Prediction:
    """An image's prediction, or why it failed, and its pixels if they are drawn."""

    image: ImageFile
    result: Instances | ImageError
    pixels: torch.Tensor | None


@dataclass
class Tally:
    """The counts of a run.

    Attributes:
        images: images predicted.
        objects: objects in the results, by class.
        dropped: objects of classes that the labels' file does not have, by class.
        failures: why an image failed, by its name.
        first: the objects of the first images, by name.
    """

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    first: dict[str, Mapping[str, int]] = field(default_factory=dict)


class PredictionRun:
    """Writes predictions into a folder. Each finished image is a line of the journal; a run with the same model, settings
    and images skips them; any other starts from scratch.

    Args:
        model: the model.
        settings: the settings of the model.
        out: the folder; created if missing.
        categories: the category id of each class name in the results; objects of other classes are dropped and counted.
        pictures: whether annotated images are written.
        form: the form of the masks in the results.
    """

    def __init__(
        self,
        model: MaskRCNN,
        settings: Settings,
        out: Path,
        *,
        categories: Mapping[str, int | str],
        pictures: bool = True,
        form: Literal["rle", "polygons"] = "rle",
    ) -> None:
        self.model, self.settings, self.out = model, settings, out
        self.categories, self.pictures, self.form = categories, pictures, form

    @property
    def key(self) -> str:
        """A hash of all that the results depend on."""
        identity = [self.model.fingerprint, self.settings.model_dump(), dict(self.categories), self.form]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def predict(
        self,
        images: Sequence[ImageFile],
        *,
        batch_size: int = 1,
        progress: bool = True,
        on_image: Callable[[], None] = lambda: None,
    ) -> Tally:
        """Predicts the images that are not finished, then writes the result files; returns the counts of all images.

        ``on_image`` is called after each image; what it raises ends the run, which can be resumed.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), disable=not progress)
        with Journal(self.out / JOURNAL, self.key) as journal, bar:
            numbers = _numbers(images, journal)
            remaining = [image for image in images if not self._is_done(image, journal)]
            task = bar.add_task("images", total=len(images), completed=len(images) - len(remaining))
            for image, entry in self._entries(remaining, batch_size):
                journal.append(image.name, {**entry, "image_id": numbers[image.name]})
                bar.advance(task)
                on_image()
            return self._write(images, journal)

    def _entries(self, images: Sequence[ImageFile], batch_size: int) -> Iterator[tuple[ImageFile, dict[str, Any]]]:
        """The journal's entries, in order: images are drawn in threads, beside the network."""
        waiting: deque[tuple[ImageFile, Future[dict[str, Any]]]] = deque()
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="write") as writers:
            try:
                for prediction in self._predictions(images, batch_size):
                    waiting.append((prediction.image, writers.submit(self._finish, prediction)))
                    while waiting and (len(waiting) > _WAITING * batch_size or waiting[0][1].done()):
                        image, entry = waiting.popleft()
                        yield image, entry.result()
                for image, entry in waiting:
                    yield image, entry.result()
            finally:
                writers.shutdown(cancel_futures=True)

    def _predictions(self, images: Sequence[ImageFile], batch_size: int) -> Iterator[Prediction]:
        rest = iter(images)
        for chunk in read_each([image.path for image in images], batch_size):  # the next is read while the network runs
            results = self.model.predict_read(chunk, self.settings)
            for image, pixels, result in zip(islice(rest, len(chunk)), chunk, results):
                is_drawn = self.pictures and isinstance(pixels, torch.Tensor)
                yield Prediction(image, result, pixels if is_drawn else None)  # type: ignore[arg-type]

    def _finish(self, prediction: Prediction) -> dict[str, Any]:
        image, result = prediction.image, prediction.result
        picture, entry = self.out / image.picture, {"stamp": _stamp(image.path)}
        if isinstance(result, ImageError):
            picture.unlink(missing_ok=True)
            return entry | {"failed": result.reason}
        if prediction.pixels is not None:
            with atomic_write(picture) as file:
                draw(prediction.pixels, result).save(file, format="PNG", compress_level=1)
        known = result[[name in self.categories for name in result.names]] if len(result) else result
        rows = known.to_coco()
        for row, name, crop in zip(rows, known.names, known.masks):
            del row["image_id"]
            row["category_id"] = self.categories[name]
            if self.form == "polygons" and crop is not None and (outlines := to_polygons(crop)):
                row["segmentation"] = [outline.ravel().tolist() for outline in outlines]
        dropped = Counter(name for name in result.names if name not in self.categories)
        areas = [
            int(w * h) if crop is None else crop.area for crop, (_, _, w, h) in zip(known.masks, (r["bbox"] for r in rows))
        ]
        counts = Counter(known.names)
        return entry | {"size": result.size, "counts": counts, "dropped": dropped, "areas": areas, "results": rows}

    def _is_done(self, image: ImageFile, journal: Journal) -> bool:
        if image.name not in journal:
            return False
        entry = journal[image.name]
        if "results" not in entry:  # it failed, and may have been repaired
            return False
        return entry.get("stamp") == _stamp(image.path) and (not self.pictures or (self.out / image.picture).is_file())

    def _write(self, images: Sequence[ImageFile], journal: Journal) -> Tally:
        tally, entries = Tally(), _Entries(images, journal)
        for image, entry in zip(images, entries):
            if "failed" in entry:
                tally.failures[image.name] = entry["failed"]
                continue
            tally.images += 1
            tally.objects.update(entry["counts"])
            tally.dropped.update(entry["dropped"])
            if len(tally.first) < 10:
                tally.first[image.name] = entry["counts"]
        class_names = {json.dumps(number): name for name, number in self.categories.items()}
        write_results(self.out, entries, class_names)
        write_dataset(self.out, entries, self.categories)
        return tally


@dataclass(frozen=True)
class _Entries:
    """The journal's entries of images, in their order, read at each iteration."""

    images: Sequence[ImageFile]
    journal: Journal

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self.journal[image.name] for image in self.images)


def _numbers(images: Sequence[ImageFile], journal: Journal) -> dict[str, int | str]:
    """The id of each image: its place's; else the one in the journal; else the next free number."""
    numbers: dict[str, int | str] = {image.name: image.image_id for image in images if image.image_id is not None}
    for image in images:
        if image.name not in numbers and image.name in journal:
            numbers[image.name] = journal[image.name]["image_id"]
    taken = set(numbers.values())
    free = (number for number in count(1) if number not in taken)
    return {image.name: numbers[image.name] if image.name in numbers else next(free) for image in images}


def _stamp(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        state = path.stat()
        return [state.st_size, state.st_mtime_ns]
    return []
