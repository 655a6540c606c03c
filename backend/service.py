"""The parts behind the routes: models, predictors for tasks and clicks, and training. Imports torch."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from maskbridge.adapter.weights.catalog import weights_folder
from maskbridge.backend.inference.interactive import InteractivePredictor
from maskbridge.backend.inference.predictor import Predictor
from maskbridge.backend.inference.registry import ModelRegistry, load, trained_variant
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training.trainer import Trainer
from maskbridge.backend.training.versions import Version, version_of
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio.client import LabelStudio
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.fetching import make_fetcher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that answer requests; `start_service` creates them."""

    predictor: Predictor
    interactive: InteractivePredictor
    registry: ModelRegistry
    trainer: Trainer


def start_service(settings: ServerSettings, metrics: Metrics) -> Service:
    """Loads the model and starts the predictor's threads.

    Raises:
        WeightsError: the weights cannot be loaded.
        SettingsError: a setting is invalid.

    Example:
        >>> service = start_service(ServerSettings(weights="bundled", device="cpu"), Metrics())
        >>> len(service.predictor)  # images that wait
        0
    """
    label_studio = settings.label_studio()
    threading.Thread(target=_check_token, args=[label_studio], daemon=True).start()
    fetcher = make_fetcher(settings, label_studio, connections=settings.fetch_threads + settings.requests_at_once)
    own = load(settings)
    variant, pinned = trained_variant(settings), _trained_version(settings)
    registry = ModelRegistry(own, lambda file: load(settings, file), pinned=pinned, variant=variant)
    predictor = Predictor(settings, registry, fetcher, metrics)
    predictor.start()
    metrics.serving(own.version, lambda: len(predictor))
    engine = own.model.engine
    log.info("ready: %s on %s, engine %s in %s", own.version, engine.device, engine.name, engine.precision)
    return Service(predictor, InteractivePredictor(predictor), registry, Trainer(settings, registry, metrics))


def _trained_version(settings: ServerSettings) -> Version | None:
    """The version of the settings' weights if they were trained on a project, which then uses it."""
    paths = (Path(settings.weights), weights_folder() / settings.weights)
    return next((version for path in paths if path.is_file() and (version := version_of(path)) is not None), None)


def _check_token(label_studio: LabelStudio) -> None:
    """Logs a problem with the token at the start, and imports the SDK before the first image needs it."""
    try:
        label_studio.authorization()
    except TaskImageError as error:
        log.warning("%s", error)
