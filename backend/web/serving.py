"""``maskbridge serve``: the app under waitress, one process with the model, threads for requests."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NoReturn

from maskbridge.backend.settings import ServerSettings, unknown_variables
from maskbridge.backend.web import logging_setup
from maskbridge.backend.web.connections import Connections
from maskbridge.backend.web.loading import load_in_background, loaded
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio.certificates import tls_context
from maskbridge.labelstudio.images.address_filter import AddressFilter

if TYPE_CHECKING:
    from flask import Flask

    from maskbridge.backend.service import Service

log = logging.getLogger(__name__)

GRACE = 15
"""Seconds beyond the deadline in which requests may end after SIGTERM."""


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


def start_app(settings: ServerSettings) -> Flask:
    """The app for another WSGI server. It answers immediately; the model is loaded in the background."""
    from maskbridge.backend.web.app import make_app

    metrics = Metrics()
    loading: Future[Service] = Future()
    load_in_background(loading, lambda: _start_service(settings, metrics))
    return make_app(settings, metrics, loading)


def serve(settings: ServerSettings) -> NoReturn:
    """Serves until SIGTERM or Ctrl-C, then ends the process; requests that were accepted before are still answered.

    A second signal ends it immediately. If the model cannot be loaded, or one of its threads dies, the process ends with
    code 1 and the reason on standard error, for whatever restarts it.

    Raises:
        SettingsError: a setting is invalid.
        ServeError: the address cannot be used.
    """
    from maskbridge.backend.web.app import make_app

    settings.label_studio(), AddressFilter(settings.hosts()), tls_context()  # raises before the start if one is invalid
    start_logging(settings)
    for name, value in settings.loggable().items():
        log.info("setting %s = %s", name, value)
    metrics = Metrics()
    loading: Future[Service] = Future()
    connections = Connections(make_app(settings, metrics, loading), settings)
    failures: list[str] = []
    ended = threading.Event()

    def end() -> None:
        ended.set()
        with contextlib.suppress(OSError):  # it has ended already
            connections.wake()

    def fail(reason: str) -> None:
        failures.append(reason)
        end()

    def on_signal(number: int, frame: object) -> None:
        if ended.is_set():
            _leave(1)
        end()

    def on_thread_error(error: threading.ExceptHookArgs) -> None:
        reason = "" if error.exc_value is None else logging_setup.summary(error.exc_value)
        log.error("the thread %s died: %s", error.thread.name if error.thread else "", reason)
        fail(f"a thread of the server died: {reason}")

    threading.excepthook = on_thread_error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    load_in_background(loading, lambda: _start_service(settings, metrics), on_failure=fail)
    connections.run(ended.is_set)
    if not failures:
        log.info("stopping: the requests received so far are answered")
        unanswered = connections.finish(settings.deadline + GRACE)
        log.log(logging.WARNING if unanswered else logging.INFO, "stopped: %d requests are not answered", unanswered)
    if (service := loaded(loading)) is not None:
        service.trainer.stop()
    for reason in failures[:1]:
        print(f"maskbridge: {reason}", file=sys.stderr, flush=True)
    _leave(1 if failures else 0)


def _start_service(settings: ServerSettings, metrics: Metrics) -> Service:
    from maskbridge.backend.service import start_service

    return start_service(settings, metrics)


def _leave(code: int) -> NoReturn:
    """Ends the process immediately: torch's threads do not let an interpreter end in peace."""
    logging.shutdown()
    os._exit(code)
