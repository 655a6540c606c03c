"""The engines beside PyTorch: how near they are, how they are chosen, and what their results are called."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from conftest import SHARED
from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.datasets.coco_dataset import read_coco
from maskbridge.adapter.engines import choosing
from maskbridge.adapter.engines.choosing import choose
from maskbridge.adapter.engines.streams import checked_streams
from maskbridge.adapter.errors import MissingExtraError, SettingsError, WeightsError
from maskbridge.adapter.evaluation.measure import evaluate
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.labelstudio.model_version import model_version
from seeded import LARGE, seeded
from shapes import images_of, shapes

COCO_MINI = SHARED / "coco-mini" / "instances.json"
OTHERS = ("openvino", "onnxruntime")


def matches(expected: Instances, actual: Instances) -> list[tuple[float, float, float]]:
    """For each expected object the IoU of the boxes, the difference of scores, the share of mask pixels that differ."""
    same_label = torch.from_numpy(expected.labels[:, None] == actual.labels[None])
    ious = (box_iou(torch.from_numpy(expected.boxes), torch.from_numpy(actual.boxes)) * same_label).numpy()
    differences = np.abs(np.subtract.outer(expected.scores, actual.scores))  # type: ignore[arg-type]
    rows, frames, others = [], list(expected.frames()), list(actual.frames())
    for index, other in enumerate((ious - differences).argmax(axis=1)):  # equal boxes are distinguished by their scores
        pixels = (frames[index] != others[other]).sum() / max(frames[index].sum(), 1)
        rows.append((ious[index, other], differences[index, other], pixels))
    return rows


@pytest.mark.parametrize("other", OTHERS)
def test_resnet50_with_seeded_values_is_near(other: Any, images: list[Path], tmp_path: Path) -> None:
    model = seeded("maskrcnn_resnet50_fpn", anchors=LARGE, frozen=True, min_size=320, max_size=500)
    file = model.save(tmp_path / "seeded.safetensors")
    changed = MaskRCNN(file, engine=other, progress=False)
    changed.network.rpn.anchor_generator = model.network.rpn.anchor_generator
    rows = []
    for expected, actual in zip(model.predict(images[:3]), changed.predict(images[:3]), strict=True):
        rows += matches(expected, actual)
    ious, scores, pixels = np.array(rows).T
    assert len(rows) > 100
    assert np.mean(ious >= 0.9) >= 0.99
    # Random weights magnify rounding: PyTorch in another memory format differs from itself by as much (docs/engines.md).
    assert np.median(scores) <= 1e-4
    assert np.quantile(scores, 0.99) <= 1e-3
    assert np.mean(pixels <= 0.001) >= 0.95


@pytest.mark.parametrize("other", OTHERS)
def test_the_scores_of_the_bundled_weights_are_those_of_pytorch(other: Any, bundled: MaskRCNN) -> None:
    labeled = read_coco(COCO_MINI, split="val2017") if COCO_MINI.is_file() else images_of(shapes(8))
    labeled = replace(labeled, images=labeled.images[:8])
    numbers = []
    for model in (bundled, MaskRCNN("bundled", engine=other, progress=False)):
        scores = run_to_end(evaluate(model, labeled)).scores
        numbers.append([list(scores[kind].numbers.values()) for kind in ("boxes", "masks")])  # type: ignore[index]
    assert max(numbers[0][0]) > 0.01
    np.testing.assert_allclose(numbers[0], numbers[1], atol=5e-5)


@pytest.mark.parametrize("other", OTHERS)
def test_threads_share_an_engine(other: Any, images: list[Path]) -> None:
    model = MaskRCNN("bundled", engine=other, progress=False)
    expected = [model.predict(image)[0] for image in images[:4]]
    results: dict[int, Instances] = {}

    def predict(index: int) -> None:
        for _ in range(3):
            results[index] = model.predict(images[index])[0]

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, one in enumerate(expected):
        np.testing.assert_allclose(results[index].boxes, one.boxes, atol=1e-3)


@pytest.mark.parametrize(
    ("other", "package", "extra"), [("openvino", "openvino", "openvino"), ("onnxruntime", "onnx", "onnx")]
)
def test_a_missing_package_is_named_with_its_command(
    other: Any, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"openvino": "openvino_engine", "onnxruntime": "onnx_engine"}[other]
    monkeypatch.delitem(sys.modules, f"maskbridge.adapter.engines.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install .*\[{extra}\]"):
        MaskRCNN("bundled", engine=other)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "opnvino"}, "unknown engine 'opnvino': did you mean 'openvino'"),
        ({"engine": None}, "unknown engine None"),
        ({"engine": "openvino", "precision": "float16"}, "precision with engine 'openvino' is float32 or bfloat16"),
        ({"engine": "onnxruntime", "precision": "bfloat16"}, "precision with engine 'onnxruntime' is float32, not"),
        ({"engine": "onnxruntime", "precision": "int8"}, "int8 runs with engine 'openvino' on a CPU"),
        ({"engine": "auto", "precision": "float16"}, "precision on cpu is float32 or bfloat16"),
    ],
)
def test_invalid_engines(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        MaskRCNN("bundled", device="cpu", **options)


def test_other_engines_run_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "checked_device", lambda device: torch.device(device or "cuda"))  # a GPU is a stand-in
    for engine, precision in (("openvino", "float32"), ("auto", "int8")):
        with pytest.raises(SettingsError, match=r"on a CPU, not .*on cuda"):
            choose(engine, "cuda", precision)  # type: ignore[arg-type]
    assert choose("auto", None, "auto") == choosing.Choice("torch", torch.device("cuda"), "float32")


@pytest.mark.openvino
def test_auto_is_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MaskRCNN("bundled", device="cpu", engine="auto", progress=False).engine.name == "openvino"
    assert MaskRCNN("bundled", device="cpu", engine="auto", precision="bfloat16").engine.name == "torch"
    monkeypatch.setattr(choosing, "_has_openvino", lambda: False)
    assert MaskRCNN("bundled", device="cpu", engine="auto").engine.name == "torch"


def test_torch_mentions_openvino_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    choosing._mention_openvino.cache_clear()
    for _ in range(2):
        MaskRCNN("bundled", device="cpu")
    assert [line for line in caplog.messages if "engine='auto'" in line] == caplog.messages


@pytest.mark.openvino
def test_no_model_version_is_a_part_of_another(tmp_path: Path) -> None:
    models = [MaskRCNN("bundled", device="cpu", precision=precision) for precision in ("float32", "bfloat16")]  # type: ignore
    models += [MaskRCNN("bundled", engine=other, progress=False) for other in OTHERS]  # type: ignore[arg-type]
    names = ["person", f"maskrcnn_mobilenet_v2_fpn-bundled-{models[0].fingerprint}", model_version(models[2]), "bundled"]
    for name in names:
        file = models[0].save(tmp_path / f"{name}.safetensors", extra={"copy": name})
        models.append(MaskRCNN(file, class_names=None))
    changed = MaskRCNN("bundled", rpn_nms_thresh=0.6)
    versions = {model_version(model) for model in [*models, changed]}
    assert len(versions) >= len(models)
    for one, other in itertools.permutations(versions, 2):
        assert one not in other


@pytest.mark.parametrize("other", ["torch", *OTHERS])
def test_an_onnx_file_is_refused_with_the_name_of_its_weights(other: Any, tmp_path: Path) -> None:
    file = tmp_path / "people.onnx"
    file.write_bytes(b"\0" * 99 + json.dumps({"format": "2", "weights": "people \u00e9.safetensors"}).encode() + b"\0")
    with pytest.raises(WeightsError, match="Use those it was exported from: people é"):
        MaskRCNN(file, engine=other)
    shutil.copy(file, tmp_path / "other.onnx")
    (tmp_path / "other.onnx").write_bytes(b"\0" * 20)
    with pytest.raises(WeightsError, match="holds no weights"):
        MaskRCNN(tmp_path / "other.onnx", engine=other)


@pytest.mark.engine
def test_streams_change_nothing_but_the_time(engine: Any, bundled: MaskRCNN, images: list[Path]) -> None:
    threads = torch.get_num_threads()
    several = MaskRCNN("bundled", engine=engine, streams=3, progress=False)
    mixed = [*images[:4], "nosuch.jpg", images[4]]
    one, other = list(bundled.predict_each(mixed)), list(several.predict_each(mixed, batch_size=6))
    assert [isinstance(result, Instances) for result in other] == [True] * 4 + [False, True]
    for expected, actual in zip(one, other):
        if isinstance(expected, Instances) and isinstance(actual, Instances):
            np.testing.assert_allclose(actual.boxes, expected.boxes, atol=0.01)
            np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4)  # type: ignore[arg-type]
    assert torch.get_num_threads() == threads
    assert several.fingerprint == bundled.fingerprint
    assert bundled.engine.name == engine


@pytest.mark.parametrize("streams", [0, 65, 1.5, True, "2"])
def test_invalid_streams(streams: Any) -> None:
    with pytest.raises(SettingsError, match="streams is a whole number from 1 to 64"):
        MaskRCNN("bundled", device="cpu", streams=streams)


def test_the_number_of_streams() -> None:
    with pytest.raises(SettingsError, match="streams are for a CPU"):
        checked_streams(2, torch.device("cuda"))
    assert checked_streams(None, torch.device("cuda")) == 1
    before = torch.get_num_threads()
    try:
        for threads, expected in ((1, 1), (2, 2), (8, 2), (16, 4), (64, 4)):
            torch.set_num_threads(threads)
            assert checked_streams(None, torch.device("cpu")) == expected
    finally:
        torch.set_num_threads(before)
