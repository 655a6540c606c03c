"""What answers requests: the model, the predictor for tasks, and the one for clicks. Imports torch."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from maskbridge.backend.addresses import AddressFilter
from maskbridge.backend.clicks import Clicks
from maskbridge.backend.errors import PhotoError
from maskbridge.backend.fetching import Fetcher, Limits
from maskbridge.backend.label_studio import LabelStudio
from maskbridge.backend.metrics import Metrics
from maskbridge.backend.predictor import Predictor
from maskbridge.backend.serving_model import load
from maskbridge.backend.settings import ServerSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that answer; `start_service` makes them."""

    predictor: Predictor
    clicks: Clicks

    @property
    def version(self) -> str:
        """The model version that predictions carry."""
        return self.predictor.serving.version


def start_service(settings: ServerSettings, metrics: Metrics) -> Service:
    """Loads the model and starts the predictor's threads; after a fork, never before.

    Raises:
        WeightsError: the weights cannot be loaded.
        SettingsError: a setting is wrong.
    """
    label_studio = LabelStudio(settings.label_studio_url, settings.token())
    threading.Thread(target=_check_token, args=[label_studio], daemon=True).start()
    fetcher = Fetcher(
        label_studio,
        AddressFilter(settings.hosts()),
        Limits(total=settings.fetch_seconds, size=settings.max_photo_megabytes * 1_000_000),
        connections=settings.fetch_threads + settings.requests_at_once,
    )
    serving = load(settings)
    predictor = Predictor(settings, serving, fetcher, metrics)
    predictor.start()
    metrics.serving(serving.version, lambda: len(predictor))
    log.info("ready: %s on %s", serving.version, serving.model.device)
    return Service(predictor, Clicks(predictor))


def _check_token(label_studio: LabelStudio) -> None:
    """Says at the start what would else be said with the first photo, which then does not wait for the SDK's import."""
    try:
        label_studio.authorization()
    except PhotoError as error:
        log.warning("%s", error)
