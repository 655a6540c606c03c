"""The process that runs FiftyOne's delegated operations, as people start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def launched() -> Iterator[subprocess.Popen[bytes]]:
    """The process that runs queued operations."""
    program = Path(sys.executable).with_name("fiftyone")
    process = subprocess.Popen([str(program), "delegated", "launch"], start_new_session=True, stdout=-3, stderr=-3)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(what: Callable[[], Any], seconds: float = 150) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return found
