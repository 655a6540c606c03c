"""``maskbridge quantize`` as a command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import maskbridge
from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.datasets.coco_dataset import write_coco
from maskbridge.adapter.datasets.labeled_dataset import labeled_images
from maskbridge.adapter.quantization import quantize
from maskbridge.cli.demo import IMAGES

pytestmark = pytest.mark.openvino


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's images of people, with labels: what the bundled weights detect."""
    (tmp_path / "images").mkdir()
    pairs = []
    for index, path in enumerate((sorted(IMAGES.glob("*.jpg")) * 2)[:9]):
        copy = tmp_path / "images" / f"{index}{path.suffix}"
        shutil.copy(path, copy)
        pairs.append((copy, MaskRCNN("bundled", device="cpu").predict(copy, confidence_threshold=0.5)[0]))
    write_coco(tmp_path / "labels.json", labeled_images(pairs))
    return tmp_path


def test_a_place_with_labels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "MIN_MASK_IOU", 0.5)
    int8 = folder / "a.safetensors"
    done = maskbridge("quantize", folder / "labels.json", "--weights", "bundled", "--max-drop", 90, "-o", int8)
    assert done.returncode == 0, done.stderr
    assert "layers in int8" in done.stdout
    assert "limit: at most 90 points of AP lost" in done.stdout
    assert MaskRCNN(int8, progress=False).engine.precision == "int8"
    again = maskbridge("predict", folder / "images", "--weights", int8, "--no-pictures", "-o", folder / "out")
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / "out" / "predictions.json").read_text())


def test_a_folder_where_nothing_is_good_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "candidates", lambda layers: [])
    (folder / "images" / "broken.jpg").write_bytes(b"no image")
    done = maskbridge("quantize", folder / "images", "--weights", "bundled", "-o", folder / "a.safetensors")
    assert done.returncode == 1
    assert "nothing is written: each choice of layers loses more than a mean mask IoU of 0.95" in done.stderr
    assert "skipped: " in done.stdout
    assert "broken.jpg" in done.stdout
    assert not (folder / "a.safetensors").exists()


def test_what_cannot_be_quantized(folder: Path) -> None:
    for arguments, reason in (
        (("nosuch", "-o", folder / "a.safetensors"), "nosuch: no such file or folder"),
        ((folder / "images" / "0.jpg", "-o", folder / "a.safetensors"), "1 images are too few"),
        ((folder / "images", "-o", folder / "a.pth"), "weights are written as .safetensors"),
        ((folder / "labels.json", "--weights", folder / "labels.json", "-o", folder / "a.safetensors"), "labels.json"),
    ):
        done = maskbridge("quantize", *arguments, *(() if "--weights" in arguments else ("--weights", "bundled")))
        assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
