"""The process that runs FiftyOne's delegated operations, as people start it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
