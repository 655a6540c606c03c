"""``maskbridge serve``: the app under gunicorn, one process with the model, threads for requests."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from ctypes import c_char
from typing import TYPE_CHECKING, Any

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.settings import ServerSettings, unknown_variables
from maskbridge.backend.web import logging_setup
from maskbridge.backend.web.loading import load_in_background
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio.client import LabelStudio
from maskbridge.labelstudio.images.address_filter import AddressFilter

if TYPE_CHECKING:
    from flask import Flask

    from maskbridge.backend.service import Service

log = logging.getLogger(__name__)


class ServeError(MaskbridgeError):
    """The server ended because it cannot be started or the model cannot be loaded."""


def secrets_of(settings: ServerSettings) -> list[str]:
    """The values that must not appear in the log.

    Example:
        >>> secrets_of(ServerSettings(label_studio_token="abc"))
        ['abc']
    """
    password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else None
    return [secret for secret in (settings.token(), password) if secret]


def start_logging(settings: ServerSettings) -> None:
    """Configures the log, and warns about ``MASKBRIDGE_*`` variables in the environment that are not settings."""
    logging_setup.configure(settings.log_level, secrets_of(settings))
    for message in unknown_variables(os.environ):
        log.warning("%s", message)


def serve(settings: ServerSettings) -> None:
    """Serves until SIGTERM or Ctrl-C; requests that were accepted before are still answered.

    Raises:
        SettingsError: a setting is invalid.
        ServeError: the address is in use, or the model cannot be loaded.
    """
    from maskbridge.backend.web.gunicorn_app import GunicornApp

    LabelStudio(settings.label_studio_url), AddressFilter(settings.hosts())  # raises before the start if one is invalid
    start_logging(settings)
    for name, value in settings.loggable().items():
        log.info("setting %s = %s", name, value)
    failure = multiprocessing.get_context("fork").Array(c_char, 1000)
    server = os.getpid()

    try:
        GunicornApp(settings, lambda: _app_in_worker(settings, failure)).run()
    except SystemExit as end:
        if os.getpid() != server:
            raise
        if failure.value:
            raise ServeError(failure.value.decode(errors="replace")) from None
        if end.code:
            raise ServeError(
                f"the server could not run on {settings.host}:{settings.port}; see the log above for the reason"
            ) from None


def start_app(settings: ServerSettings, *, on_failure: Callable[[str], None] = lambda reason: None) -> Flask:
    """The app, which answers immediately; the model is loaded in the background."""
    from maskbridge.backend.web.app import make_app

    metrics = Metrics()

    def make() -> Service:
        from maskbridge.backend.service import start_service

        return start_service(settings, metrics)

    return make_app(settings, metrics, load_in_background(make, on_failure))


def _app_in_worker(settings: ServerSettings, failure: Any) -> Flask:
    """Called after the fork, to start the threads here. A failure ends the server, not only this process."""
    from flask import Flask

    def stop(reason: str) -> None:
        failure.value = reason.encode()[:999]
        os.kill(os.getppid(), signal.SIGTERM)

    try:
        return start_app(settings, on_failure=stop)
    except Exception as error:
        stop(logging_setup.summary(error))
        return Flask(__name__)
