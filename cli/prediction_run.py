"""A run of ``maskbridge predict`` that can be interrupted: what is done is in a journal beside the results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskbridge.adapter import ImageError, Instances, MaskbridgeError, MaskRCNN
from maskbridge.adapter.drawing import draw
from maskbridge.adapter.files import replacing
from maskbridge.adapter.images import file_endings
from maskbridge.adapter.settings import Settings

JOURNAL = ".maskbridge-run.jsonl"
RESULTS = "predictions.json"


@dataclass(frozen=True)
class PhotoFile:
    """A photo to predict: its path, its place below the common folder of all, and its id in the results."""

    path: Path
    name: str
    picture: str

    @property
    def image_id(self) -> int | str:
        """COCO's own number for files named by one (``000000397133.jpg``), else the picture's name without its ending."""
        stem = self.picture.removesuffix(".png")
        return int(stem) if stem.isascii() and stem.isdigit() else stem


def find_photos(paths: Iterable[Path], out: Path) -> list[PhotoFile]:
    """The photos among files and folders (searched to the bottom), sorted, each once; not those below ``out``.

    Raises:
        MaskbridgeError: a path does not exist, or there is no photo at all.
    """
    endings = file_endings()
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
            found.update((file, None) for file in map(_absolute, inside) if _absolute(out) not in file.parents)
        elif path.exists() or path.is_symlink():
            found[_absolute(path)] = None
        else:
            raise MaskbridgeError(f"{path}: no such file or folder")
    if not found:
        raise MaskbridgeError(f"no photos in {', '.join(map(str, paths))} (looked for {', '.join(sorted(endings))})")
    files = sorted(found)
    root = Path(os.path.commonpath([file.parent for file in files]))
    names = [file.relative_to(root).as_posix() for file in files]
    stems = Counter(str(Path(name).with_suffix("")).lower() for name in names)
    # Two photos that differ in their endings only keep them, or one picture would overwrite the other.
    pictures = [
        (name if stems[str(Path(name).with_suffix("")).lower()] > 1 else str(Path(name).with_suffix(""))) + ".png"
        for name in names
    ]
    return [PhotoFile(*parts) for parts in zip(files, names, pictures)]


class PredictionRun:
    """Predicts photos into a folder. Each finished photo is a line of the journal; a new run with the same model, settings
    and photos leaves those out, any other begins anew.

    Args:
        model: the model.
        settings: of the model.
        out: the folder; made if need be.
    """

    def __init__(self, model: MaskRCNN, settings: Settings, out: Path) -> None:
        self.model, self.settings, self.out = model, settings, out
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskbridgeError(f"{out}: cannot be made a folder ({error.strerror})") from error
        made_by = [model.fingerprint, asdict(settings)]
        self._key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
        self.entries = self._read_journal()

    def predict(self, photos: list[PhotoFile], *, batch_size: int | None = None, progress: bool = True) -> None:
        """Predicts the photos that are not done, then writes `RESULTS`."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        to_do = [photo for photo in photos if not self._is_done(photo)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with (
            Progress(*columns, console=console, disable=not progress) as bar,
            (self.out / JOURNAL).open("a", encoding="utf-8") as journal,
        ):
            task = bar.add_task("photos", total=len(photos), completed=len(photos) - len(to_do))
            for photo, result in self._results(to_do, batch_size):
                entry = self._finish(photo, result)
                self.entries[photo.name] = entry
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                bar.advance(task)
        self._write_results(photos)

    def failures(self, photos: list[PhotoFile]) -> dict[str, str]:
        """Why photos failed, by name."""
        return {photo.name: reason for photo in photos if (reason := self.entries[photo.name].get("failed"))}

    def _results(
        self, photos: list[PhotoFile], batch_size: int | None
    ) -> Iterator[tuple[PhotoFile, Instances | ImageError]]:
        paths = (photo.path for photo in photos)
        return zip(photos, self.model.predict_each(paths, settings=self.settings, batch_size=batch_size))

    def _finish(self, photo: PhotoFile, result: Instances | ImageError) -> dict[str, Any]:
        entry: dict[str, Any] = {"key": self._key, "name": photo.name, "stamp": _stamp(photo.path)}
        picture = self.out / photo.picture
        if isinstance(result, ImageError):
            picture.unlink(missing_ok=True)
            return entry | {"failed": result.reason}
        with replacing(picture) as file:
            draw(photo.path, result).save(file, format="PNG", compress_level=1)
        return entry | {"found": Counter(result.names), "results": result.to_coco(photo.image_id)}

    def _is_done(self, photo: PhotoFile) -> bool:
        entry = self.entries.get(photo.name, {})
        if "results" not in entry:  # failed, or never begun: a photo that was broken may be mended now
            return False
        return entry.get("stamp") == _stamp(photo.path) and (self.out / photo.picture).is_file()

    def _read_journal(self) -> dict[str, dict[str, Any]]:
        path, entries = self.out / JOURNAL, {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # the last line of a killed run may be half
                    entry = json.loads(line)
                    if entry["key"] == self._key:
                        entries[entry["name"]] = entry
        with replacing(path) as file:  # without what other settings left, and ending in a whole line
            file.write_text("".join(json.dumps(entry) + "\n" for entry in entries.values()), encoding="utf-8")
        return entries

    def _write_results(self, photos: list[PhotoFile]) -> None:
        results = []
        for photo in photos:
            results += [result | {"file_name": photo.name} for result in self.entries[photo.name].get("results", [])]
        with replacing(self.out / RESULTS) as file:
            file.write_text(json.dumps(results), encoding="utf-8")


def _absolute(path: Path) -> Path:
    """Without ``..``, but with symbolic links as they are: two links to one photo are two photos."""
    return Path(os.path.abspath(path))  # noqa: PTH100 Path.resolve would follow the links


def _stamp(path: Path) -> list[int]:
    with contextlib.suppress(OSError):
        state = path.stat()
        return [state.st_size, state.st_mtime_ns]
    return []
