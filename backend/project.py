"""A Label Studio project, or its JSON export, as labelled photos."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.files import replacing
from maskbridge.adapter.labelled import DataError, LabelledPhotos, read_json
from maskbridge.adapter.library import folder
from maskbridge.backend.annotations import chosen_annotation, labelled_photos, photos_in, regions_of
from maskbridge.backend.errors import PhotoError
from maskbridge.backend.fetching import Fetcher, make_fetcher
from maskbridge.backend.label_config import ControlTag, ImageTag, Label, LabelConfig, parse
from maskbridge.backend.label_studio import LabelStudio
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.tags import TAGS

_PAGE = 100


def read_project(
    number: int, settings: ServerSettings, *, on_photo: Callable[[int, int], None] = lambda done, total: None
) -> LabelledPhotos:
    """The annotated tasks of a project, asked for with Label Studio's SDK; photos are kept in a folder of their own.

    Args:
        number: the project's.
        settings: Label Studio's address and token, the limits of photos, and how much disk photos may take.
        on_photo: told how many photos of how many are fetched.

    Raises:
        DataError: Label Studio does not answer, knows no such project, or the photos take more disk than they may.
    """
    label_studio = LabelStudio(settings.label_studio_url, settings.token())
    if settings.token() is None:
        raise DataError("Label Studio wants a token: set MASKBRIDGE_LABEL_STUDIO_TOKEN")
    try:
        label_config = str(label_studio.client.projects.get(id=number).label_config)
        listed = label_studio.client.tasks.list(project=number, fields="all", only_annotated=True, page_size=_PAGE)
        with warnings.catch_warnings():  # the SDK declares annotations as a string, and pydantic remarks on each
            warnings.simplefilter("ignore", UserWarning)
            tasks = [json.loads(task.json()) for task in listed]
    except Exception as error:  # the SDK's, httpx's and jwt's; none of their words, which may hold the token
        status = getattr(error, "status_code", None)
        reason = f"it answered {status}" if status else type(error).__name__
        raise DataError(
            f"project {number} cannot be read from Label Studio at {settings.label_studio_url}: {reason}"
        ) from None
    photos = _PhotoFolder(make_fetcher(settings, label_studio), photo_folder(settings.label_studio_url, number), settings)
    annotated = [task for task in tasks if chosen_annotation(task) is not None]
    config = parse(label_config)
    photos.fetch_all(annotated, config, on_photo)
    return labelled_photos(annotated, config, photos.locate)


def read_export(path: Path, photos: Path | None = None) -> LabelledPhotos:
    """A project's JSON export, with its photos in a folder (by default the export's own).

    A photo is found by the name at the end of its address in the task; the name that Label Studio put before an upload's
    (eight letters and a dash) may be there or not. The export does not hold the label config: tags are those of its
    regions, labels those that were used.

    Raises:
        DataError: the file is not such an export, or none of its photos is in the folder.
    """
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks):
        raise DataError(f"{path}: is not a JSON export of Label Studio's (a list of tasks with data and annotations)")
    where = photos or path.parent
    found = labelled_photos(tasks, _config_of(tasks), lambda value, task: _in_folder(where, value))
    if not len(found):
        first = f": {found.unusable[0].reason}" if found.unusable else ""
        raise DataError(f"{path}: no annotated task with a photo in {where}{first}")
    return found


def photo_folder(url: str, number: int) -> Path:
    """Where the photos of a project are kept."""
    server = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    return folder().parent / "label-studio" / server / f"project-{number}"


class _PhotoFolder:
    """Photos of a project on disk: each fetched once."""

    def __init__(self, fetcher: Fetcher, place: Path, settings: ServerSettings) -> None:
        self.fetcher, self.place = fetcher, place
        self.threads = settings.fetch_threads
        self.most = settings.training_megabytes * 1_000_000
        self.failures: dict[str, PhotoError] = {}

    def fetch_all(self, tasks: list[dict[str, Any]], config: LabelConfig, on_photo: Callable[[int, int], None]) -> None:
        """Fetches what is not there, side by side; failures are raised by `locate`."""
        wanted = [(value, task) for task in tasks for _, _, value, _ in photos_in(task, config)]
        try:
            self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataError(f"{self.place}: cannot be made a folder ({error.strerror})") from None
        taken = sum(file.stat().st_size for file in self.place.iterdir())
        with ThreadPoolExecutor(self.threads, thread_name_prefix="fetch") as workers:
            for done, size in enumerate(workers.map(lambda pair: self._fetch(*pair), wanted), start=1):
                taken += size
                if taken > self.most:
                    workers.shutdown(cancel_futures=True)
                    raise DataError(
                        f"the project's photos take more than {self.most / 1e6:.0f} MB (MASKBRIDGE_TRAINING_MEGABYTES)"
                    )
                on_photo(done, len(wanted))

    def locate(self, value: object, task: Mapping[str, Any]) -> Path:
        """The file of a photo that was fetched."""
        path = self._path(value)
        if path.name in self.failures:
            raise self.failures[path.name]
        if not path.is_file():
            raise PhotoError("task", f"its data has no photo's address: {str(value)[:60]!r}")
        return path

    def _fetch(self, value: object, task: Mapping[str, Any]) -> int:
        path = self._path(value)
        if path.is_file():
            return 0
        try:
            data = self.fetcher.fetch(value, task["id"] if isinstance(task.get("id"), int) else None)
            with replacing(path) as file:
                file.write_bytes(data)
            return len(data)
        except PhotoError as error:
            self.failures[path.name] = error
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from None
        return 0

    def _path(self, value: object) -> Path:
        return self.place / hashlib.sha256(str(value).encode(errors="surrogatepass")).hexdigest()


def _in_folder(where: Path, value: object) -> Path:
    name = unquote(urlsplit(str(value)).path).replace("\\", "/").rpartition("/")[2]
    query = urlsplit(str(value)).query
    if query.startswith("d="):  # Label Studio's local files
        name = unquote(query[2:]).replace("\\", "/").rpartition("/")[2]
    for candidate in (name, name.partition("-")[2] if name[8:9] == "-" else ""):
        if candidate and candidate not in (".", "..") and (where / candidate).is_file():
            return where / candidate
    raise PhotoError("not_found", f"{name or value!r} is not in {where}")


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
