"""A server of our own as people start it, a web server that misbehaves, and a real Label Studio."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from label_studio_process import LabelStudioProcess, start_label_studio
from photo_server import PhotoServer

PROGRAM = Path(sys.executable).with_name("maskbridge")


@dataclass
class Backend:
    """A running ``maskbridge serve``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self, path: str = "/ready", auth: tuple[str, str] | None = None, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + path, timeout=5, auth=auth).status_code == 200:
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Backend]]:
    """Starts backends with settings of the environment; all are stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: object) -> Backend:
        port = free_port()
        log = tmp_path_factory.mktemp("backend") / "log"
        values = {"weights": "bundled", "port": port, "allowed_hosts": "127.0.0.0/8", **settings}
        environment = {f"MASKBRIDGE_{name.upper()}": str(value) for name, value in values.items()}
        with log.open("wb") as file:
            process = subprocess.Popen(
                [PROGRAM, "serve"], env={**os.environ, **environment}, stdout=file, stderr=subprocess.STDOUT
            )
        started.append(process)
        return Backend(f"http://127.0.0.1:{port}", process, log)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session")
def photo_server(photos: list[Path]) -> Iterator[PhotoServer]:
    """Real photos over http, and what hostile servers send."""
    with PhotoServer(photos) as server:
        yield server


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioProcess]:
    """A real Label Studio in an environment of its own, with a database of its own; stopped at the end."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        assert not os.environ.get("CI"), "CI has uv"
        pytest.skip("no uv on this machine to install Label Studio with")
    with start_label_studio(uv, tmp_path_factory.mktemp("label-studio"), free_port()) as process:
        yield process
