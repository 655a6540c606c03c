"""Our app under gunicorn: its options, its log, its worker. Imported only to serve: Windows has no gunicorn."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import KNOWN_SETTINGS
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from maskbridge.backend.settings import ServerSettings

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

GRACE = 15
"""Seconds beyond the deadline in which requests may end after SIGTERM."""


class GunicornApp(BaseApplication):
    """Serves the app that ``make_app`` returns; it is called in the worker, after the fork."""

    def __init__(self, settings: ServerSettings, make_app: Callable[[], Flask]) -> None:
        self._settings, self._make_app = settings, make_app
        super().__init__()

    def load_config(self) -> None:
        names = {setting.name for setting in KNOWN_SETTINGS}
        for name, value in _options(self._settings).items():
            if name in names:  # control_socket_disable came with a later version
                self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make_app()


class ServerLog(Logger):
    """gunicorn's log as part of ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers, logger.propagate = [], True
        self.error_log.setLevel(max(logging.getLogger().level + 10, logging.INFO))  # its "info" is detail here


class ServerWorker(ThreadWorker):
    """gunicorn's threaded worker; what is not HTTP is refused without repeating it, for it may hold a token."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        log.warning("refused what is not an HTTP request: %s", type(exc).__name__)
        with contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


def _options(settings: ServerSettings) -> dict[str, Any]:
    grace = int(settings.deadline) + GRACE
    return {
        "bind": f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}",
        "worker_class": ServerWorker,
        "logger_class": ServerLog,
        "workers": 1,  # one model in memory; threads share it
        "threads": settings.requests_at_once + 16,
        "timeout": grace,
        "graceful_timeout": grace,
        "keepalive": 5,
        "proc_name": "maskbridge",
        "control_socket_disable": True,
        "worker_exit": _leave,
    }


def _leave(server: Any, worker: Any) -> None:
    """Ends a worker immediately when it is done: torch's threads do not let an interpreter end in peace."""
    if os.getpid() == worker.pid:
        logging.shutdown()
        os._exit(0)
