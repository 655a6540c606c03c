"""Starts ``maskbridge serve`` for tests and benchmarks, as people start it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from waiting import wait_for

PROGRAM = Path(sys.executable).with_name("maskbridge")


@dataclass
class Backend:
    """A running ``maskbridge serve``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self, path: str = "/ready", auth: tuple[str, str] | None = None) -> None:
        """Waits until the path answers 200."""
        wait_for(lambda: self._answers(path, auth), self.process, self.log)

    def stop(self) -> None:
        """Ends it with SIGTERM; what was accepted is answered first."""
        self.process.terminate()
        self.process.wait()

    def _answers(self, path: str, auth: tuple[str, str] | None) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=60, auth=auth).status_code == 200
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_backend(folder: Path, *, program: Path = PROGRAM, **settings: object) -> Backend:
    """Starts a backend with settings of the environment; images may come from this machine. Its log is in the folder."""
    values = {"weights": "bundled", "port": free_port(), "allowed_hosts": "127.0.0.0/8", **settings}
    environment = {f"MASKBRIDGE_{name.upper()}": str(value) for name, value in values.items()}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [program, "serve"], env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
        )
    return Backend(f"http://127.0.0.1:{values['port']}", process, log)
