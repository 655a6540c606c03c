"""The server's log: one line per event, without tracebacks and secrets, at any level."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Collection
from pathlib import Path

_VERBOSE_LOGGERS = (
    "httpx",
    "httpcore",
    "urllib3",
    "PIL",
    "label_studio_sdk",
    "label_studio_ml",
    "werkzeug",
    "waitress",
    "faker",
)
"""Loggers that would log addresses with signatures, headers or bodies: only their warnings are logged."""
_SECRETS = re.compile(r"(?i)\b(bearer|token|basic|authorization:?)\s+[\w.~+/=-]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]*")


def configure(level: str, secrets: Collection[str] = ()) -> None:
    """Sends the log of the process to standard error, in one format, with these secrets masked wherever they appear."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # requests that wait for a thread are no problem


class OneLine(logging.Formatter):
    """Formats a record as one line, with the type and location of an exception, and with secrets masked."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = f"{self.formatTime(record)} {record.levelname} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {summary(record.exc_info[1])}"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(character if character.isprintable() else " " for character in _SECRETS.sub("***", text))


def summary(error: BaseException) -> str:
    """The type, message and location of an unexpected error, in one line.

    Example:
        >>> summary(ValueError("five"))
        'ValueError: five'
    """
    frames = traceback.extract_tb(error.__traceback__)
    location = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    first_line = (str(error).splitlines() or [""])[0][:300]
    return f"{type(error).__name__}: {first_line}{location}"
