"""A server of our own as people start it, a web server that misbehaves, and a real Label Studio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend_process import Backend, free_port, start_backend
from label_studio_process import LabelStudioProcess, find_uv, start_label_studio
from maskbridge.adapter import MaskRCNN


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights for small inputs: a tenth of the time, and objects are still found."""
    return MaskRCNN("bundled", min_size=192, max_size=256).save(tmp_path_factory.mktemp("weights") / "quick.safetensors")


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory, quick: Path) -> Iterator[Callable[..., Backend]]:
    """Starts backends with settings of the environment (and `quick`); all are stopped at the end."""
    started: list[Backend] = []

    def start(**settings: object) -> Backend:
        started.append(start_backend(tmp_path_factory.mktemp("backend"), **{"weights": quick, **settings}))
        return started[-1]

    yield start
    for backend in started:
        backend.process.terminate()
    for backend in started:
        backend.stop()


@pytest.fixture(scope="session")
def backend(serve: Callable[..., Backend]) -> Backend:
    """One for all tests that only ask."""
    started = serve(log_level="debug", fetch_seconds=20)
    started.wait_until_ready()
    return started


@pytest.fixture(scope="session")
def model(quick: Path) -> MaskRCNN:
    """The server's model."""
    return MaskRCNN(quick)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioProcess]:
    """A real Label Studio in an environment of its own, with a database of its own; stopped at the end."""
    with start_label_studio(find_uv(), tmp_path_factory.mktemp("label-studio"), free_port()) as process:
        yield process
