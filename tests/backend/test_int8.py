"""A server with weights in int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend_requests import predict, task
from image_server import ImageServer
from maskbridge.adapter import MaskRCNN
from maskbridge.backend.inference.registry import ModelRegistry, load, trained_variant
from maskbridge.backend.settings import ServerSettings
from maskbridge.labelstudio.model_version import base_version

pytestmark = pytest.mark.openvino


def test_it_says_what_it_loses(serve: Callable[..., Any], int8_file: Path, image_server: ImageServer) -> None:
    started = serve(weights=int8_file, home=int8_file.parent)
    started.wait_until_ready()
    (result,) = predict(started.url, [task(1, f"{image_server.url}/image/1?int8")])
    answer = httpx.get(f"{started.url}/versions").json()
    assert (answer["engine"], answer["precision"]) == ("openvino", "int8")
    assert answer["loss"]["images"] == 8
    assert result["model_version"] == answer["versions"][0]
    assert "-people-int8-openvino-int8-" in result["model_version"]
    page = httpx.get(started.url).text
    assert "openvino, int8" in page
    assert f"mean mask IoU {answer['loss']['mask_iou']:.3f}" in page
    assert "openvino in int8" in started.log.read_text()


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_trained_versions_are_in_float32(precision: Any, int8_file: Path, tmp_path: Path) -> None:
    settings = ServerSettings(weights=str(int8_file), device="cpu", precision=precision)
    own = load(settings)
    trained = MaskRCNN("bundled", device="cpu").save(tmp_path / "trained.safetensors")
    assert load(settings, trained).version == base_version(MaskRCNN(trained, device="cpu"))
    registry = ModelRegistry(own, lambda file: load(settings, file), variant=trained_variant(settings))
    assert registry._served("builder-trained-0123456789ab") == "builder-trained-0123456789ab"
    assert registry.version_of(1) == own.version
