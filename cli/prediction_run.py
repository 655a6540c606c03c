"""An interruptible run of ``maskbridge predict``: a journal beside the results lists the finished images."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maskbridge.adapter import ImageError, Instances, MaskbridgeError, MaskRCNN
from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.drawing import draw
from maskbridge.adapter.settings import Settings
from maskbridge.cli.image_files import ImageFile

JOURNAL = ".maskbridge-run.jsonl"
RESULTS = "predictions.json"


class PredictionRun:
    """Writes predictions into a folder. Each finished image is a line of the journal; a run with the same model, settings
    and images skips them; any other starts from scratch.

    Args:
        model: the model.
        settings: the settings of the model.
        out: the folder; created if missing.
    """

    def __init__(self, model: MaskRCNN, settings: Settings, out: Path) -> None:
        self.model, self.settings, self.out = model, settings, out
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskbridgeError(f"{out}: cannot create the folder ({error.strerror})") from error
        identity = [model.fingerprint, settings.model_dump()]
        self._key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.entries = self._read_journal()

    def predict(self, images: list[ImageFile], *, batch_size: int | None = None, progress: bool = True) -> None:
        """Predicts the images that are not finished, then writes `RESULTS`."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        remaining = [image for image in images if not self._is_done(image)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with (
            Progress(*columns, console=console, disable=not progress) as bar,
            (self.out / JOURNAL).open("a", encoding="utf-8") as journal,
        ):
            task = bar.add_task("images", total=len(images), completed=len(images) - len(remaining))
            for image, result in self._results(remaining, batch_size):
                entry = self._finish(image, result)
                self.entries[image.name] = entry
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                bar.advance(task)
        self._write_results(images)

    def failures(self, images: list[ImageFile]) -> dict[str, str]:
        """The reasons of the images that failed, by name."""
        return {image.name: reason for image in images if (reason := self.entries[image.name].get("failed"))}

    def _results(
        self, images: list[ImageFile], batch_size: int | None
    ) -> Iterator[tuple[ImageFile, Instances | ImageError]]:
        paths = (image.path for image in images)
        return zip(images, self.model.predict_each(paths, settings=self.settings, batch_size=batch_size))

    def _finish(self, image: ImageFile, result: Instances | ImageError) -> dict[str, Any]:
        entry: dict[str, Any] = {"key": self._key, "name": image.name, "stamp": _stamp(image.path)}
        picture = self.out / image.picture
        if isinstance(result, ImageError):
            picture.unlink(missing_ok=True)
            return entry | {"failed": result.reason}
        with atomic_write(picture) as file:
            draw(image.path, result).save(file, format="PNG", compress_level=1)
        return entry | {"counts": Counter(result.names), "results": result.to_coco(image.image_id)}

    def _is_done(self, image: ImageFile) -> bool:
        entry = self.entries.get(image.name, {})
        if "results" not in entry:  # failed or not started: a corrupt image may have been repaired
            return False
        return entry.get("stamp") == _stamp(image.path) and (self.out / image.picture).is_file()

    def _read_journal(self) -> dict[str, dict[str, Any]]:
        path, entries = self.out / JOURNAL, {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a killed run may leave an incomplete line
                    entry = json.loads(line)
                    if entry["key"] == self._key:
                        entries[entry["name"]] = entry
        with atomic_write(path) as file:  # drops entries of other settings and an incomplete last line
            file.write_text("".join(json.dumps(entry) + "\n" for entry in entries.values()), encoding="utf-8")
        return entries

    def _write_results(self, images: list[ImageFile]) -> None:
        results = []
        for image in images:
            results += [result | {"file_name": image.name} for result in self.entries[image.name].get("results", [])]
        with atomic_write(self.out / RESULTS) as file:
            file.write_text(json.dumps(results), encoding="utf-8")


def _stamp(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        state = path.stat()
        return [state.st_size, state.st_mtime_ns]
    return []
