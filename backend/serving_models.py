"""Which model answers which project."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from cachetools import LRUCache

from maskbridge.adapter.errors import MaskbridgeError, SettingsError, nearest
from maskbridge.backend import versions
from maskbridge.backend.serving_model import ServingModel
from maskbridge.backend.tasks import number_of

log = logging.getLogger(__name__)

MOST_LOADED = 3
"""Trained models in memory, besides the server's own."""


class ServingModels:
    """The server's own model, and for projects that were trained on the version they use. Threads share one.

    A request asks once and keeps what it got: a swap is one assignment, between two requests.

    Args:
        own: what answers all other projects.
        load: loads a version's file.
        pinned: a version of a project that is used whatever was chosen before.
    """

    def __init__(
        self, own: ServingModel, load: Callable[[Path], ServingModel], *, pinned: versions.Version | None = None
    ) -> None:
        self.own = own
        self._load = load
        self._lock = threading.Lock()
        self._loaded: LRUCache[str, ServingModel] = LRUCache(MOST_LOADED)
        self._chosen = versions.chosen()
        self._pinned: dict[str, str] = {} if pinned is None else {pinned.project: pinned.name}
        self._asked: dict[str, str] = {}

    def of(self, project: str) -> ServingModel:
        """The model of a project, loaded if need be; the server's own where it has none, or it cannot be loaded."""
        name = self.version_of(project)
        if name == self.own.version:
            return self.own
        with self._lock:
            if (found := self._loaded.get(name)) is not None:
                return found
            file = next((version.file for version in versions.trained() if version.name == name), None)
            try:
                if file is None:
                    raise SettingsError(f"the file of version {name} is gone")
                self._loaded[name] = loaded = self._load(file)
            except MaskbridgeError as error:
                log.error("project %s is answered by %s: %s", number_of(project), self.own.version, error)
                for names in (self._asked, self._pinned, self._chosen):
                    names.pop(number_of(project), None)
                return self.own
            return loaded

    def version_of(self, project: str) -> str:
        """The version that answers a project, without loading it."""
        number = number_of(project)
        names = (self._asked, self._pinned, self._chosen)
        return next((found[number] for found in names if number in found), self.own.version)

    def ask_for(self, project: str, name: str | None) -> None:
        """What a project's extra parameters say: a version by its name; None for the best.

        Raises:
            SettingsError: there is no such version of this project.
        """
        number = number_of(project)
        if name is None:
            self._asked.pop(number, None)
            return
        known = self.versions(project)
        if name not in known:
            raise SettingsError(f"project {number} has no model version {name!r}: {nearest(name, known)}")
        self._asked[number] = name

    def swap(self, project: str, serving: ServingModel) -> None:
        """Lets a new version answer a project from its next request on, and notes it for the next start."""
        number = number_of(project)
        with self._lock:
            self._loaded[serving.version] = serving
        versions.choose(number, serving.version)
        self._chosen[number] = serving.version
        self._pinned.pop(number, None)

    def versions(self, project: str | None = None) -> list[str]:
        """All versions, or those that a project can have: trained ones, newest first, and the server's own."""
        trained = [v.name for v in versions.trained() if project is None or v.project == number_of(project)]
        return list(dict.fromkeys([*trained, self.own.version]))

    def used(self) -> set[str]:
        """Versions that some project uses."""
        return {self.own.version, *self._chosen.values(), *self._pinned.values(), *self._asked.values()}
