"""Starts ``maskbridge serve`` for tests and benchmarks, as people start it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

PROGRAM = Path(sys.executable).with_name("maskbridge")


@dataclass
class Backend:
    """A running ``maskbridge serve``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self, path: str = "/ready", auth: tuple[str, str] | None = None, seconds: float = 120) -> None:
        """Waits until the path answers 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + path, timeout=5, auth=auth).status_code == 200:
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        """Ends it: with SIGTERM, and if that takes long with SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_backend(folder: Path, **settings: object) -> Backend:
    """Starts a backend with settings of the environment; images may come from this machine. Its log is in the folder."""
    values = {"weights": "bundled", "port": free_port(), "allowed_hosts": "127.0.0.0/8", **settings}
    environment = {f"MASKBRIDGE_{name.upper()}": str(value) for name, value in values.items()}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [PROGRAM, "serve"], env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
        )
    return Backend(f"http://127.0.0.1:{values['port']}", process, log)
