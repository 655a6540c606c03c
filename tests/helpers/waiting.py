"""Waiting for events, not for a number of seconds, so that a busy machine passes too.

A wait ends early where the process that it waits for has died; what hangs is ended by pytest-timeout.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], process: subprocess.Popen[Any] | None = None, log: Path | None = None) -> T:
    """The first true value of a condition.

    Args:
        condition: asked again and again.
        process: without which the condition can never hold; its end fails the test.
        log: what the process has written, for the failure.
    """
    while not (value := condition()):
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"the process ended with code {process.returncode}: {log.read_text() if log else ''}")
        time.sleep(0.05)
    return value
