"""Which model answers which project."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cachetools import LRUCache

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.errors import MaskbridgeError, SettingsError, nearest
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import versions
from maskbridge.labelstudio.model_version import model_version

log = logging.getLogger(__name__)

MAX_LOADED = 3
"""Trained models in memory, besides the server's own."""


@dataclass(frozen=True)
class ServingModel:
    """A model that answers, and the version that its predictions carry."""

    model: MaskRCNN
    version: str


def load(settings: ServerSettings, file: Path | None = None) -> ServingModel:
    """Loads a model and runs it once, so that the first image does not wait.

    Args:
        settings: of the server; they name its own weights.
        file: weights that were trained here, instead of the server's own.

    Raises:
        WeightsError, SettingsError: it cannot be loaded.
    """
    weights, builder = (settings.weights, settings.builder) if file is None else (str(file), None)
    model = MaskRCNN(weights, builder=builder, device=settings.device, autocast=settings.autocast, progress=False)
    model.predict(np.zeros((64, 64, 3), dtype=np.uint8))
    return ServingModel(model, model_version(model))


class ModelRegistry:
    """The server's own model, and for projects that were trained on the version they use. Threads share one.

    A request asks once and keeps what it got: a swap is one assignment, between two requests.

    Args:
        own: answers all other projects.
        load_file: loads a version's file.
        pinned: a version of a project that is used whatever was chosen before.
    """

    def __init__(
        self,
        own: ServingModel,
        load_file: Callable[[Path], ServingModel],
        *,
        pinned: versions.Version | None = None,
    ) -> None:
        self.own = own
        self._load_file = load_file
        self._lock = threading.Lock()
        self._loaded: LRUCache[str, ServingModel] = LRUCache(MAX_LOADED)
        self._chosen = versions.chosen()
        self._pinned: dict[int, str] = {} if pinned is None else {pinned.project: pinned.name}
        self._requested: dict[int, str] = {}

    def get(self, project: int | None) -> ServingModel:
        """The model of a project, loaded if need be; the server's own where it has none, or it cannot be loaded."""
        name = self.version_of(project)
        if project is None or name == self.own.version:
            return self.own
        with self._lock:
            if (loaded := self._loaded.get(name)) is not None:
                return loaded
            file = next((version.file for version in versions.trained() if version.name == name), None)
            try:
                if file is None:
                    raise SettingsError(f"the file of version {name} is gone")
                self._loaded[name] = loaded = self._load_file(file)
            except MaskbridgeError as error:
                log.error("project %s is answered by %s: %s", project, self.own.version, error)
                for names in (self._requested, self._pinned, self._chosen):
                    names.pop(project, None)
                return self.own
            return loaded

    def version_of(self, project: int | None) -> str:
        """The version that answers a project, without loading it."""
        for names in (self._requested, self._pinned, self._chosen):
            if project is not None and project in names:
                return names[project]
        return self.own.version

    def request(self, project: int | None, name: str | None) -> None:
        """Uses the version that a project's extra parameters name; None for the best.

        Raises:
            SettingsError: there is no such version of this project.
        """
        if name is None:
            if project is not None:
                self._requested.pop(project, None)
            return
        known = self.versions(project)
        if project is None or name not in known:
            raise SettingsError(f"project {project} has no model version {name!r}: {nearest(name, known)}")
        self._requested[project] = name

    def swap(self, project: int, serving: ServingModel) -> None:
        """Lets a new version answer a project from its next request on, and keeps that for the next start."""
        with self._lock:
            self._loaded[serving.version] = serving
        versions.choose(project, serving.version)
        self._chosen[project] = serving.version
        self._pinned.pop(project, None)

    def versions(self, project: int | None) -> list[str]:
        """The versions that a project can have: its trained ones, newest first, and the server's own."""
        trained = [version.name for version in versions.trained() if version.project == project]
        return list(dict.fromkeys([*trained, self.own.version]))

    def all_versions(self) -> list[str]:
        """The versions of all projects, newest first, and the server's own."""
        return list(dict.fromkeys([*(version.name for version in versions.trained()), self.own.version]))

    def used(self) -> set[str]:
        """Versions that some project uses."""
        return {self.own.version, *self._chosen.values(), *self._pinned.values(), *self._requested.values()}
