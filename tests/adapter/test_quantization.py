"""Weights in int8: how they are made, measured, refused, kept in a file and used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from safetensors import safe_open

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, labeled_images
from maskbridge.adapter.errors import SettingsError, WeightsError
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.quantization import quantize as quantization
from maskbridge.adapter.quantization.agreement import compare
from maskbridge.adapter.quantization.layers import Candidate, candidates, layers_of
from maskbridge.adapter.quantization.quantize import Report, quantize
from maskbridge.adapter.weights.catalog import loss_of
from maskbridge.adapter.weights.checkpoints import save
from maskbridge.cli.demo import IMAGES
from maskbridge.labelstudio.model_version import model_version

pytestmark = pytest.mark.openvino


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    """The bundled model on small images."""
    return MaskRCNN("bundled", device="cpu", progress=False)


@pytest.fixture(scope="module")
def labeled(model: MaskRCNN) -> LabeledDataset:
    """The demo's images of people, each twice, with what the model itself detects."""
    paths = sorted(IMAGES.glob("*.jpg")) * 2
    return labeled_images(list(zip(paths, model.predict(paths, confidence_threshold=0.5))))


@pytest.fixture(scope="module")
def report(model: MaskRCNN, labeled: LabeledDataset) -> Report:
    """Of two choices: the first is said to lose too much."""
    shares = iter([1.5, 0.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "candidates", lambda layers: [candidates(layers)[0], _one_layer()])
        patch.setattr(quantization, "share_of_limit", lambda *_: next(shares))
        return run_to_end(quantize(model, labeled, max_drop=10))


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert report.weights is not None
    return save(tmp_path_factory.mktemp("int8") / "people-int8.safetensors", report.weights)


def test_the_first_choice_within_the_limit_is_kept(report: Report, labeled: LabeledDataset) -> None:
    *failed, last = report.trials
    assert len(failed) == 1
    assert last.passed
    assert not any(trial.passed for trial in failed)
    assert last.loss.images == len(labeled)
    assert last.loss.objects >= 8
    assert failed[0].loss.mask_iou < last.loss.mask_iou < 1  # int8 is never quite float32
    assert last.loss.ap is not None
    assert failed[0].loss.ap > last.loss.ap > 0  # type: ignore[operator]
    assert report.limit == "at most 10 points of AP lost, a mean mask IoU of 0.95 or more"


def test_the_file_predicts_as_it_was_measured(file: Path, report: Report, model: MaskRCNN, labeled: LabeledDataset) -> None:
    loaded = MaskRCNN(file, progress=False)
    assert repr(loaded.engine) == "device='cpu', engine='openvino', precision='int8'"
    assert loaded.quantized == report.weights.quantized  # type: ignore[union-attr]
    inputs = [image.image for image in labeled]
    expected, actual = ([result.to_coco() for result in each.predict(inputs)] for each in (model, loaded))
    measured = report.trials[-1].loss
    assert replace(compare(expected, actual), ap=measured.ap) == measured
    assert loss_of(file) == str(measured)


def test_the_float32_values_are_those_of_the_model(file: Path, model: MaskRCNN, astronaut: np.ndarray) -> None:
    loaded = MaskRCNN(file, precision="float32", device="cpu")
    assert loaded.engine.name == "torch"
    assert loaded.fingerprint == model.fingerprint
    np.testing.assert_array_equal(loaded.predict(astronaut)[0].scores, model.predict(astronaut)[0].scores)  # type: ignore


def test_versions_name_the_layers_in_int8(file: Path, report: Report, tmp_path: Path, model: MaskRCNN) -> None:
    loaded = MaskRCNN(file, progress=False)
    assert model_version(loaded).startswith("maskrcnn_mobilenet_v2_fpn-people-int8-openvino-int8-")
    quantized = report.weights.quantized  # type: ignore[union-attr]
    assert quantized is not None
    xml, constants = quantized.graphs["trunk"]
    changed = replace(quantized, graphs={**quantized.graphs, "trunk": (xml + b"<!-- -->", constants)})
    other = MaskRCNN(save(tmp_path / "people-int8.safetensors", replace(report.weights, quantized=changed)), progress=False)  # type: ignore
    assert len({loaded.fingerprint, other.fingerprint, model.fingerprint}) == 3
    again = MaskRCNN(loaded.save(tmp_path / "again.safetensors"), progress=False)
    assert again.fingerprint == loaded.fingerprint


def test_requests_work_as_in_float32(file: Path, images: list[Path]) -> None:
    loaded = MaskRCNN(file, streams=2, progress=False)
    results = list(loaded.predict_each([*images[:3], "nosuch.jpg"], batch_size=4))
    assert [isinstance(result, Instances) for result in results] == [True] * 3 + [False]
    boxes = loaded.segment_boxes(images[0], [[10, 10, 200, 200]], ["person"])
    assert boxes.names == ["person"]


def test_without_labels_objects_are_compared(
    model: MaskRCNN, labeled: LabeledDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "candidates", lambda layers: [_one_layer()])
    monkeypatch.setattr(quantization, "share_of_limit", lambda *_: 0.5)
    report = run_to_end(quantize(model, [image.image for image in labeled]))
    assert report.ap is None
    assert report.trials[0].loss.ap is None
    assert report.trials[0].passed
    assert 0.8 <= report.trials[0].loss.mask_iou < 1
    assert report.limit.endswith("at most 5 % of the objects lost and 5 % gained")


def test_what_loses_too_much_is_refused(model: MaskRCNN, labeled: LabeledDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "candidates", lambda layers: [candidates(layers)[0]])
    report = run_to_end(quantize(model, labeled))
    assert [trial.layers for trial in report.trials] == ["all"]
    assert report.weights is None
    assert not report.trials[0].passed


def test_candidates_begin_with_the_most_in_int8(model: MaskRCNN) -> None:
    from maskbridge.adapter.engines import openvino_engine
    from maskbridge.adapter.engines.graphs import parts_of

    layers = layers_of(openvino_engine.convert(*parts_of(model.network)["trunk"]))
    assert {layer.part for layer in layers} == {"backbone", "FPN", "RPN head"}
    tried = candidates(layers)
    shares = [sum(layer.multiplications for layer in layers if one.in_int8(layer)) for one in tried[:-2]]
    assert shares == sorted(shares, reverse=True)
    assert tried[0].layers == "all"
    assert [one.accuracy_control for one in tried] == [False] * (len(tried) - 1) + [True]
    assert all(0 < share < shares[0] for share in shares[1:])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (lambda labeled: [labeled[0].image], "1 images are too few to calibrate and to measure the loss: 8 or more"),
        (lambda labeled: ["nosuch.jpg"] * 20, "only 0 of 20 images can be used"),
        (lambda labeled: [np.zeros((99, 99, 3), np.uint8)] * 9, "detects 0 objects in these images"),
        (
            lambda labeled: labeled_images([(one.image, _as_cats(one.instances)) for one in labeled]),
            "no label is of",
        ),
    ],
    ids=["one", "broken", "empty", "classes"],
)
def test_images_that_tell_nothing(inputs: Any, reason: str, model: MaskRCNN, labeled: LabeledDataset) -> None:
    with pytest.raises(DataError, match=reason):
        run_to_end(quantize(model, inputs(labeled)))


def test_broken_images_are_skipped_and_named(
    model: MaskRCNN, labeled: LabeledDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "candidates", lambda layers: [_one_layer()])
    broken = replace(labeled.images[0], image=Path("nosuch.jpg"), name="nosuch.jpg")
    for images in (replace(labeled, images=(broken, *labeled.images)), ["nosuch.jpg", *(one.image for one in labeled)]):
        report = run_to_end(quantize(model, images))
        assert [skipped.name for skipped in report.skipped_images] == ["nosuch.jpg"]
        assert report.trials[0].loss.images == len(labeled)


@pytest.mark.parametrize("value", [-1, 101, float("nan")])
def test_invalid_limits(value: float, model: MaskRCNN) -> None:
    with pytest.raises(SettingsError, match="max_drop is a number of points of AP from 0 to 100"):
        run_to_end(quantize(model, [], max_drop=value))


def test_only_float32_is_quantized(file: Path) -> None:
    with pytest.raises(SettingsError, match="a model in float32 on a CPU is quantized"):
        run_to_end(quantize(MaskRCNN(file, progress=False), []))


@pytest.mark.parametrize("damage", ["flipped", "missing part", "no XML", "another network", "loss", "truncated"])
def test_a_damaged_file_is_refused(damage: str, file: Path, tmp_path: Path, report: Report) -> None:
    tensors = safetensors.torch.load_file(file)
    with safe_open(file, framework="pt") as opened:
        metadata = dict(opened.metadata())
    changed = tmp_path / "changed.safetensors"
    quantized = report.weights.quantized  # type: ignore[union-attr]
    assert quantized is not None
    if damage == "flipped":
        tensors["int8.trunk.bin"][1000] ^= 255
    elif damage == "missing part":
        del tensors["int8.mask_head.bin"]
    elif damage == "loss":
        metadata["int8"] = json.dumps({**json.loads(metadata["int8"]), "loss": {"images": "many"}})
    if damage in ("no XML", "another network"):
        wrong = (b"<net", b"") if damage == "no XML" else quantized.graphs["mask_head"]
        other = replace(quantized, graphs={**quantized.graphs, "trunk": wrong})
        save(changed, replace(report.weights, quantized=other))  # type: ignore[type-var]
    else:
        safetensors.torch.save_file(tensors, changed, metadata)
    if damage == "truncated":
        changed.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(WeightsError) as error:
        MaskRCNN(changed, progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "onnxruntime"}, "int8 runs with engine 'openvino' on a CPU, not with 'onnxruntime'"),
        ({"precision": "float16"}, "precision on cpu is float32 or bfloat16"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
    ],
)
def test_what_int8_does_not_support(options: dict[str, Any], reason: str, file: Path) -> None:
    with pytest.raises(SettingsError, match=reason):
        MaskRCNN(file, device="cpu", progress=False, **options)
    with pytest.raises(SettingsError, match="for weights that `maskbridge quantize` wrote"):
        MaskRCNN("bundled", precision="int8")


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_a_processor_without_the_instructions(precision: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskbridge.adapter.engines import openvino_engine

    monkeypatch.setattr(openvino_engine, "supports", lambda wanted: wanted != precision)
    with pytest.raises(SettingsError, match=f"this processor has no instructions for {precision}"):
        MaskRCNN(file, engine="openvino", precision=precision, progress=False)
    if precision == "int8":
        assert MaskRCNN(file, precision="float32").engine.name == "torch"


def _one_layer() -> Candidate:
    """One layer in int8, so that little is lost."""
    return Candidate("the last of the backbone", lambda layer: layer.part == "backbone" and layer.depth == 1)


def _as_cats(labels: Instances) -> Instances:
    return replace(labels, labels=np.ones_like(labels.labels), class_names=("__background__", "cat"))
