"""What answers requests: the model, the predictor for tasks, and the one for clicks. Imports torch."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from maskbridge.adapter.library import folder
from maskbridge.backend.clicks import Clicks
from maskbridge.backend.errors import PhotoError
from maskbridge.backend.fetching import make_fetcher
from maskbridge.backend.label_studio import LabelStudio
from maskbridge.backend.metrics import Metrics
from maskbridge.backend.predictor import Predictor
from maskbridge.backend.serving_model import load, load_file
from maskbridge.backend.serving_models import ServingModels
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import Trainer
from maskbridge.backend.versions import Version, version_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that answer; `start_service` makes them."""

    predictor: Predictor
    clicks: Clicks
    models: ServingModels
    trainer: Trainer


def start_service(settings: ServerSettings, metrics: Metrics) -> Service:
    """Loads the model and starts the predictor's threads; after a fork, never before.

    Raises:
        WeightsError: the weights cannot be loaded.
        SettingsError: a setting is wrong.
    """
    label_studio = LabelStudio(settings.label_studio_url, settings.token())
    threading.Thread(target=_check_token, args=[label_studio], daemon=True).start()
    fetcher = make_fetcher(settings, label_studio)
    own = load(settings)
    models = ServingModels(own, lambda file: load_file(file, settings), pinned=_trained_version(settings))
    predictor = Predictor(settings, models, fetcher, metrics)
    predictor.start()
    metrics.serving(own.version, lambda: len(predictor))
    log.info("ready: %s on %s", own.version, own.model.device)
    return Service(predictor, Clicks(predictor), models, Trainer(settings, models, metrics))


def _trained_version(settings: ServerSettings) -> Version | None:
    """The version that the settings' weights are, if they were trained from a project: that project then uses it."""
    paths = (Path(settings.weights), folder() / settings.weights)
    return next((found for path in paths if path.is_file() and (found := version_of(path)) is not None), None)


def _check_token(label_studio: LabelStudio) -> None:
    """Says at the start what would else be said with the first photo, which then does not wait for the SDK's import."""
    try:
        label_studio.authorization()
    except PhotoError as error:
        log.warning("%s", error)
