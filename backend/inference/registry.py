"""Which model each project uses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cachetools import LRUCache

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.engines.choosing import choose
from maskbridge.adapter.engines.torch_engine import variant_of
from maskbridge.adapter.errors import MaskbridgeError, SettingsError, nearest
from maskbridge.adapter.settings import Precision
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import versions
from maskbridge.backend.training.versions import Version
from maskbridge.labelstudio.model_version import model_version, with_variant

log = logging.getLogger(__name__)

MAX_LOADED = 3
"""Maximum number of trained models in memory, besides the server's own."""


@dataclass(frozen=True)
class ServingModel:
    """A loaded model, and the model version that its predictions carry."""

    model: MaskRCNN
    version: str


def load(settings: ServerSettings, file: Path | None = None) -> ServingModel:
    """Loads a model and runs it once as a warm-up.

    Args:
        settings: the server's; they name its own weights.
        file: a weights file trained by this server, to load instead of its own weights.

    Raises:
        WeightsError: the weights cannot be loaded.
        SettingsError: a setting is invalid.

    Example:
        >>> load(ServerSettings(weights="bundled", device="cpu")).version
        'maskrcnn_mobilenet_v2_fpn-bundled-8abe57d886f2'
    """
    weights = settings.own_weights() if file is None else {"weights": str(file)}
    model = MaskRCNN(
        **weights,
        device=settings.device,
        engine=settings.engine,
        precision=settings.precision if file is None else _trained_precision(settings),
        streams=settings.streams,
        progress=False,
    )
    model.predict(np.zeros((64, 64, 3), dtype=np.uint8))
    return ServingModel(model, model_version(model))


def trained_variant(settings: ServerSettings) -> str:
    """The engine's variant of trained versions, which have no layers in int8.

    Example:
        >>> trained_variant(ServerSettings(engine="torch", precision="int8", device="cpu"))
        ''
    """
    choice = choose(settings.engine, settings.device, _trained_precision(settings), quantized=False)
    return variant_of(choice.engine, choice.precision)


def _trained_precision(settings: ServerSettings) -> Precision:
    return "auto" if settings.precision == "int8" else settings.precision


class ModelRegistry:
    """The server's own model, and the trained versions of projects. Threads may share one.

    A request calls `get` once and uses that model to its end, so a swap takes effect between requests.

    Args:
        own: the server's own model, for all projects without a trained version.
        load_file: loads the weights file of a version.
        pinned: a version that its project uses instead of the version saved on disk.
        variant: the engine's, of trained versions; see `trained_variant`.
    """

    def __init__(
        self,
        own: ServingModel,
        load_file: Callable[[Path], ServingModel],
        *,
        pinned: Version | None = None,
        variant: str = "",
    ) -> None:
        self.own, self._variant = own, variant
        self._load_file = load_file
        self._lock = threading.Lock()
        self._loaded: LRUCache[str, ServingModel] = LRUCache(MAX_LOADED)
        # By project the name of a trained version (see `Version`), or that of the server's own model.
        self._chosen = versions.chosen()
        self._pinned: dict[int, str] = {} if pinned is None else {pinned.project: pinned.name}
        self._requested: dict[int, str] = {}

    def get(self, project: int | None) -> ServingModel:
        """The model of a project, loaded if necessary; the server's own if the project has none or it cannot be loaded."""
        name = self._name_of(project)
        if project is None or name is None or self.version_of(project) == self.own.version:
            return self.own
        with self._lock:
            if (loaded := self._loaded.get(name)) is not None:
                return loaded
            try:
                if (file := self.file_of(project)) is None:
                    raise SettingsError(f"the weights file of version {name} is missing or corrupt")
                self._loaded[name] = loaded = self._load_file(file)
            except MaskbridgeError as error:
                log.error("project %s uses %s instead: %s", project, self.own.version, error)
                for names in (self._requested, self._pinned, self._chosen):
                    names.pop(project, None)
                return self.own
            return loaded

    def version_of(self, project: int | None) -> str:
        """The version that a project uses, without loading it."""
        name = self._name_of(project)
        return self.own.version if name is None or name == self.own.version else self._served(name)

    def file_of(self, project: int | None) -> Path | None:
        """The weights file of the trained version that a project uses; None if it uses the server's own model."""
        name = self._name_of(project)
        return next((version.file for version in versions.trained() if version.name == name), None)

    def _name_of(self, project: int | None) -> str | None:
        in_order = (self._requested, self._pinned, self._chosen)
        return next((names[project] for names in in_order if project is not None and project in names), None)

    def _served(self, name: str) -> str:
        """The model version of a trained version with this server's engine and precision."""
        return with_variant(name, self._variant)

    def request(self, project: int | None, name: str | None) -> None:
        """Lets a project use the version that its extra parameters name; None for the best version.

        Raises:
            SettingsError: the project has no such version.
        """
        if name is None:
            if project is not None:
                self._requested.pop(project, None)
            return
        names = self._names(project)
        if project is None or name not in names:
            raise SettingsError(f"project {project} has no model version {name!r}: {nearest(name, names)}")
        self._requested[project] = names[name]

    def swap(self, project: int, name: str, serving: ServingModel) -> None:
        """Lets a project use a new version (see `Version`) from its next request on, and saves the choice."""
        with self._lock:
            self._loaded[name] = serving
        versions.choose(project, name)
        self._chosen[project] = name
        self._pinned.pop(project, None)

    def versions(self, project: int | None) -> list[str]:
        """The versions that a project can use: its trained ones, newest first, then the server's own."""
        return list(self._names(project))

    def _names(self, project: int | None) -> dict[str, str]:
        """The names of the trained versions of a project and of the server's own model, by those that predictions carry."""
        trained = [version.name for version in versions.trained() if version.project == project]
        return {self._served(name): name for name in trained} | {self.own.version: self.own.version}

    def trained(self) -> list[Version]:
        """The trained versions of all projects, newest first, named as predictions carry them."""
        return [replace(version, name=self._served(version.name)) for version in versions.trained()]

    def all_versions(self) -> list[str]:
        """The trained versions of all projects, newest first, then the server's own."""
        return list(dict.fromkeys([*(version.name for version in self.trained()), self.own.version]))

    def used(self) -> set[Path]:
        """The weights files in use by any project."""
        names = {self._name_of(project) for project in {*self._chosen, *self._pinned, *self._requested}}
        return {version.file for version in versions.trained() if version.name in names}
