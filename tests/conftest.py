"""What tests share: images, the small model, a mongod of their own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import database
from image_server import ImageServer

# Tests run in two processes, and many start more: threads that wait for each other's cores take longer than one each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# FiftyOne reads these when it is first imported. Folders of their own keep tests away from people's data and weights.
_DATABASE = str(database.folder())
os.environ.update(
    FIFTYONE_DATABASE_DIR=_DATABASE,
    FIFTYONE_DO_NOT_TRACK="true",
    FIFTYONE_DATABASE_VALIDATION="false",
    FIFTYONE_PLUGINS_DIR=f"{_DATABASE}/plugins",
    MASKBRIDGE_HOME=f"{_DATABASE}/home",
    FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS="true",  # else the App offers no "Schedule"
)

_MONGOD = database.start_mongod()
if _MONGOD is not None:
    os.environ["FIFTYONE_DATABASE_URI"] = _MONGOD[1]

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# The plugin as a symbolic link, one of the ways in which people install it.
if not (link := database.folder() / "plugins" / "maskbridge").is_symlink():
    link.parent.mkdir()
    link.symlink_to(ROOT)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that load OpenVINO run in a process of their own, which `test_openvino` starts.

    One that ends with a signal takes no other tests with it: OpenVINO's threads end a process without a message.
    """
    alone = "TEST_OPENVINO" in os.environ
    config.hook.pytest_deselected(items=[item for item in items if _loads_openvino(item) != alone])
    # The longest files first: at the end a process would wait for the other one's.
    order = ["test_openvino", "test_docs", "test_distribution"]
    rank = {name: index - len(order) for index, name in enumerate(order)}
    items[:] = sorted(
        (item for item in items if _loads_openvino(item) == alone), key=lambda item: rank.get(item.path.stem, 0)
    )


def _loads_openvino(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    names = getattr(callspec, "id", "")  # of engines, and of modules whose examples run
    return item.get_closest_marker("openvino") is not None or "openvino" in names or "quantiz" in names


def pytest_report_header() -> str:
    state = "found" if (SHARED / "coco-mini").is_dir() else "NOT found: images that scikit-image ships are used instead"
    return f"shared/coco-mini: {state}"


def pytest_unconfigure() -> None:
    if _MONGOD is not None:
        _MONGOD[0].communicate()  # ends with its input
    shutil.rmtree(_DATABASE, ignore_errors=True)


@pytest.fixture(scope="session")
def images() -> list[Path]:
    """Real images of several sizes, people among them: coco-mini's where it is at hand, else scikit-image's."""
    if (SHARED / "coco-mini").is_dir():
        listing = json.loads((SHARED / "coco-mini" / "instances.json").read_text())
        people = {a["image_id"] for a in listing["annotations"] if a["category_id"] == 1}
        chosen = [image for image in listing["images"] if image["id"] in people][:8]
        return [SHARED / "coco-mini" / "images" / image["file_name"] for image in chosen]
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "camera.png")]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """An image of a person whom the bundled weights find."""
    import skimage

    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests that are marked ``engine`` with each engine; one that is not installed fails."""
    if metafunc.definition.get_closest_marker("engine") and "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", ["torch", "openvino", "onnxruntime"], indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of `bundled`; tests that are marked ``engine`` run with each."""
    return str(getattr(request, "param", "torch"))


@pytest.fixture(scope="session")
def bundled(engine: Any) -> Any:
    """The bundled model; calls do not change it, so all tests share one."""
    from maskbridge.adapter import MaskRCNN

    return MaskRCNN("bundled", engine=engine, progress=False)


@pytest.fixture(scope="session")
def int8_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights with one layer in int8; for tests that are marked ``openvino``."""
    from maskbridge.adapter import MaskRCNN
    from maskbridge.adapter.long_jobs import run_to_end
    from maskbridge.adapter.quantization import quantize
    from maskbridge.adapter.quantization.layers import Candidate
    from maskbridge.adapter.weights.checkpoints import save
    from maskbridge.cli.demo import IMAGES

    last = Candidate("the last of the backbone", lambda layer: layer.part == "backbone" and layer.depth == 1)
    model = MaskRCNN("bundled", device="cpu", progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "candidates", lambda layers: [last])
        patch.setattr(quantize, "share_of_limit", lambda loss, max_drop: 0.0)
        report = run_to_end(quantize.quantize(model, (sorted(IMAGES.glob("*.jpg")) * 2)[:8]))
    assert report.weights is not None
    return save(tmp_path_factory.mktemp("int8") / "people-int8.safetensors", report.weights)


@pytest.fixture(scope="session")
def image_server(images: list[Path]) -> Iterator[ImageServer]:
    """Real images over http, and what hostile servers send."""
    with ImageServer(images) as server:
        yield server


@pytest.fixture
def dataset(images: list[Path]) -> Iterator[Any]:
    """An empty FiftyOne dataset on a real mongod, deleted after the test."""
    import fiftyone as fo

    dataset = fo.Dataset()
    yield dataset
    if not dataset.deleted:
        dataset.delete()
