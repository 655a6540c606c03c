"""A Label Studio project as a labeled dataset, with its images fetched into a folder."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.weights.catalog import weights_folder
from maskbridge.labelstudio.annotations import chosen_annotation, images_in, labeled_dataset
from maskbridge.labelstudio.client import LabelStudio, reason_of
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.fetching import Fetcher, make_fetcher
from maskbridge.labelstudio.label_config import LabelConfig, parse
from maskbridge.labelstudio.settings import LabelStudioSettings

_PAGE = 100


def read_project(
    number: int,
    settings: LabelStudioSettings,
    *,
    fetch: bool = True,
    folder: Path | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> LabeledDataset:
    """Reads the annotated tasks of a project with Label Studio's SDK, and fetches their images into a folder.

    Args:
        number: the project's number (its id).
        settings: Label Studio's address and token, the limits of images, and the disk space for them.
        fetch: whether images are fetched; if not, their sizes are those that regions state.
        folder: for the images; by default `image_folder`.
        on_image: called after each image, with the number of images done and their total number.

    Raises:
        DataError: Label Studio does not answer or has no such project, or the images take more disk space than allowed.
    """
    project = _read_tasks(number, settings, only_annotated=True)
    locate = _fetch(project, on_image, folder).locate if fetch else None
    return labeled_dataset(project.tasks, project.config, locate)


@dataclass(frozen=True)
class FetchedImages:
    """The images of a project's tasks.

    Attributes:
        files: the file of each image, by name, such as ``"task 7"``; tasks may share a file.
        failures: why an image cannot be fetched, by name.
    """

    files: Mapping[str, Path]
    failures: Mapping[str, str]


def fetch_images(
    number: int, settings: LabelStudioSettings, *, on_image: Callable[[int, int], None] = lambda done, total: None
) -> FetchedImages:
    """Fetches the images of all tasks of a project into `image_folder`.

    Args: as in `read_project`.

    Raises:
        DataError: Label Studio does not answer or has no such project, or the images take more disk space than allowed.
    """
    project = _read_tasks(number, settings, only_annotated=False)
    images = _fetch(project, on_image)
    files: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for task in project.tasks:
        for image in images_in(task, project.config):
            try:
                files[image.name] = images.locate(image.value, task)
            except TaskImageError as error:
                failures[image.name] = str(error)
    return FetchedImages(files, failures)


@dataclass(frozen=True)
class _Project:
    number: int
    settings: LabelStudioSettings
    label_studio: LabelStudio
    tasks: list[dict[str, Any]]
    config: LabelConfig


def _read_tasks(number: int, settings: LabelStudioSettings, *, only_annotated: bool) -> _Project:
    """The tasks of a project and its label config."""
    label_studio = settings.label_studio()
    if settings.token() is None:
        raise DataError("Label Studio requires a token: set MASKBRIDGE_LABEL_STUDIO_TOKEN")
    try:
        label_config = str(label_studio.client.projects.get(id=number).label_config)
        filters = {"only_annotated": True} if only_annotated else {}
        listing = label_studio.client.tasks.list(project=number, fields="all", page_size=_PAGE, **filters)
        with warnings.catch_warnings():  # the SDK declares annotations as a string, and pydantic warns about each
            warnings.simplefilter("ignore", UserWarning)
            tasks = [json.loads(task.json()) for task in listing]
    except Exception as error:  # the SDK's, httpx's or jwt's
        reason = str(error) if isinstance(error, MaskbridgeError) else reason_of(error)
        raise DataError(
            f"project {number} cannot be read from Label Studio at {settings.label_studio_url}: {reason}"
        ) from None
    chosen = [task for task in tasks if not only_annotated or chosen_annotation(task) is not None]
    return _Project(number, settings, label_studio, chosen, parse(label_config))


def _fetch(project: _Project, on_image: Callable[[int, int], None], folder: Path | None = None) -> _ImageFolder:
    """The folder of a project's images, with those of all tasks."""
    settings = project.settings
    folder = folder or image_folder(settings.label_studio_url, project.number)
    images = _ImageFolder(make_fetcher(settings, project.label_studio), folder, settings)
    images.fetch_all(project.tasks, project.config, on_image)
    return images


def image_folder(url: str, number: int) -> Path:
    """The folder for the images of a project.

    Example:
        >>> image_folder("http://localhost:8080", 12).name
        'project-12'
    """
    server = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    return weights_folder().parent / "label-studio" / server / f"project-{number}"


class _ImageFolder:
    """The images of a project on disk: each is fetched once."""

    def __init__(self, fetcher: Fetcher, folder: Path, settings: LabelStudioSettings) -> None:
        self.fetcher, self.folder = fetcher, folder
        self.threads = settings.fetch_threads
        self.max_bytes = settings.training_megabytes * 1_000_000
        self.failures: dict[str, TaskImageError] = {}

    def fetch_all(self, tasks: list[dict[str, Any]], config: LabelConfig, on_image: Callable[[int, int], None]) -> None:
        """Fetches the missing images in parallel; `locate` raises their failures."""
        images = [(image.value, task) for task in tasks for image in images_in(task, config)]
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataError(f"{self.folder}: the folder cannot be created ({error.strerror})") from None
        total_bytes = sum(file.stat().st_size for file in self.folder.iterdir())
        with ThreadPoolExecutor(self.threads, thread_name_prefix="fetch") as workers:
            for done, size in enumerate(workers.map(lambda pair: self._fetch(*pair), images), start=1):
                total_bytes += size
                if total_bytes > self.max_bytes:
                    workers.shutdown(cancel_futures=True)
                    raise DataError(
                        f"the project's images take more than {self.max_bytes / 1e6:.0f} MB (MASKBRIDGE_TRAINING_MEGABYTES)"
                    )
                on_image(done, len(images))

    def locate(self, value: object, task: Mapping[str, Any]) -> Path:
        """The file of an image that `fetch_all` fetched."""
        path = self._path(value)
        if path.name in self.failures:
            raise self.failures[path.name]
        if not path.is_file():
            raise TaskImageError("task", "the task's data has no address of an image")
        return path

    def _fetch(self, value: object, task: Mapping[str, Any]) -> int:
        path = self._path(value)
        if path.is_file():
            return 0
        try:
            data = self.fetcher.fetch(value, task["id"] if isinstance(task.get("id"), int) else None)
            with atomic_write(path) as file:
                file.write_bytes(data)
            return len(data)
        except TaskImageError as error:
            self.failures[path.name] = error
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from None
        return 0

    def _path(self, value: object) -> Path:
        return self.folder / hashlib.sha256(str(value).encode(errors="surrogatepass")).hexdigest()
