"""Checkpoints as people have them: the content decides; what is no Mask R-CNN of torchvision is named as what it is."""

from __future__ import annotations

import argparse
import collections
import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from maskbridge.adapter import MaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.builders import BUILDERS
from maskbridge.adapter.weights.class_names import parse_class_names

State = Mapping[str, torch.Tensor]


def prefixed(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value.contiguous() for name, value in state.items()}


def of_torchvisions_script(state: State) -> dict[str, Any]:
    """What torchvision's references/detection/train.py saves."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.02, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[16, 22])
    arguments = argparse.Namespace(data_path="/data", lr_steps=[16, 22], amp=False, output_dir=".", world_size=1, lr=0.02)
    return {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "args": arguments,
        "epoch": 25,
    }


def save(content: Callable[[State], Any], **options: Any) -> Callable[[State, Path], None]:
    return lambda state, path: torch.save(content(state), path, **options)


LOADED: dict[str, Callable[[State, Path], None]] = {
    "plain.pth": save(dict),
    "ordered.pth": save(collections.OrderedDict),
    "torchvision-script.pth": save(of_torchvisions_script),
    "parallel.pt": save(lambda state: {**prefixed(state, "module."), "n_averaged": torch.tensor(7)}),
    "compiled.pth": save(lambda state: prefixed(state, "_orig_mod.")),
    "lightning.ckpt": save(
        lambda state: {"state_dict": {**prefixed(state, "model."), "metric.total": torch.zeros(1)}, "hyper_parameters": {}}
    ),
    "wrapped-twice.pth": save(lambda state: prefixed(state, "model._orig_mod.")),
    "model_state_dict.bin": save(lambda state: {"model_state_dict": state, "loss": 0.3, "names": ["a"], "none": None}),
    "net.pth.tar": save(lambda state: {"net": state, "epoch": 3}),
    "UPPER.PTH": save(lambda state: {"state": {"weights": dict(state)}}),
    "legacy.pth": save(dict, _use_new_zipfile_serialization=False),
    "alone.safetensors": lambda state, path: safetensors.torch.save_file(prefixed(state, ""), path),
    "safetensors.pth": lambda state, path: safetensors.torch.save_file(prefixed(state, "module."), path),
}


@pytest.mark.parametrize("name", LOADED)
def test_checkpoints_that_load(name: str, tmp_path: Path, bundled: MaskRCNN) -> None:
    state = bundled.network.state_dict()
    LOADED[name](state, tmp_path / name)
    model = MaskRCNN(tmp_path / name, class_names=["person"], device="cpu")
    loaded = model.network.state_dict()
    assert model.builder == bundled.builder, "recognized by its parameters"
    assert (model.class_names, model.weights_name) == (bundled.class_names, name)
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.endswith("num_batches_tracked"))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("evil-was-here"),)


def detectron2(path: Path) -> None:
    keys = ("backbone.bottom_up.stem.conv1.weight", "proposal_generator.rpn_head.conv.weight",
            "roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_head.predictor.weight")  # fmt: skip
    torch.save({"model": {key: torch.zeros(2, 2) for key in keys}, "iteration": 1}, path)


def detectron2_zoo(path: Path) -> None:
    model = {"backbone.bottom_up.stem.conv1.weight": np.zeros((2, 2), dtype=np.float32)}
    path.write_bytes(pickle.dumps({"model": model, "__author__": "Detectron2 Model Zoo"}))


def mmdetection(path: Path) -> None:
    keys = ("backbone.conv1.weight", "rpn_head.rpn_conv.weight", "roi_head.bbox_head.fc_cls.weight")
    torch.save({"meta": {"epoch": 12}, "state_dict": {key: torch.zeros(2, 2) for key in keys}}, path)


def faster_rcnn(path: Path) -> None:
    network = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), path)


def two_networks(path: Path) -> None:
    state = MaskRCNN("bundled").network.state_dict()
    torch.save({"student": prefixed(state, "a."), "teacher": dict(state)}, path)


def script(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "evil.pth": (lambda path: torch.save({"model": Evil()}, path), r"objects of the type \S*, which could run code"),
    "evil-legacy.pth": (lambda path: path.write_bytes(pickle.dumps(Evil(), protocol=2)), "which could run code"),
    "module.pth": (
        lambda path: torch.save(torch.nn.Linear(2, 2), path),
        r"torch\.nn\.modules\.linear\.Linear, which could",
    ),
    "detectron2.pth": (detectron2, "a checkpoint of Detectron2"),
    "model_final.pkl": (detectron2_zoo, "a checkpoint of Detectron2"),
    "mmdet.pth": (mmdetection, "a checkpoint of MMDetection"),
    "resnet.pth": (
        lambda path: torch.save(torchvision.models.resnet18(weights=None).state_dict(), path),
        r"is not torchvision's Mask R-CNN; its keys are conv1\.weight, .* \(122 in all\)",
    ),
    "faster.pth": (faster_rcnn, "has no mask head, so it is a Faster R-CNN"),
    "two.pth": (two_networks, r"holds 2 networks \(student, teacher\)"),
    "script.pt": (script, "a TorchScript archive"),
    "empty.pth": (lambda path: path.write_bytes(b""), "the file is empty"),
    "page.pth": (lambda path: path.write_text("<!DOCTYPE html><html></html>"), "is a web page"),
    "pointer.pth": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS"),
    "text.bin": (lambda path: path.write_text("hello"), "neither a checkpoint of torch nor a safetensors file"),
    "list.pth": (lambda path: torch.save([1, 2], path), "holds no tensors by name"),
    "numbers.pth": (lambda path: torch.save({"epoch": 3, "loss": 0.1}, path), "its keys are epoch, loss"),
    "control.pth": (lambda path: torch.save({"\x1b[31mred": torch.zeros(1)}, path), r"its keys are \?\[31mred"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_checkpoints_that_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=message) as error:
        MaskRCNN(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert len(str(error.value).splitlines()) == 1
    assert "\x1b" not in str(error.value)
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize("cut", [10, 1000, 100_000])
def test_an_incomplete_file(cut: int, tmp_path: Path, bundled: MaskRCNN) -> None:
    torch.save(dict(bundled.network.state_dict()), tmp_path / "whole.pth")
    (tmp_path / "part.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-cut])
    with pytest.raises(WeightsError, match=r"part\.pth: cannot be read: the file is incomplete or corrupt"):
        MaskRCNN(tmp_path / "part.pth")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tune of COCO_V1, with random values: two classes, frozen norms without an epsilon."""
    path = tmp_path_factory.mktemp("frozen") / "mine.pth"
    torch.save(BUILDERS["maskrcnn_resnet50_fpn"].build(num_classes=3).state_dict(), path)
    state = {key: value for key, value in torch.load(path).items() if not key.endswith("num_batches_tracked")}
    torch.save(state, path)
    return path


def eps_of(model: MaskRCNN) -> set[float]:
    return {module.eps for module in model.network.backbone.body.modules() if type(module).__name__ == "FrozenNorm"}


def test_the_epsilon_of_frozen_norms(frozen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert eps_of(MaskRCNN(frozen, device="cpu")) == {1e-5}
    (record,) = caplog.records
    assert "set norm_eps=0 (--norm-eps 0)" in record.getMessage()
    caplog.clear()
    model = MaskRCNN(frozen, norm_eps=0, device="cpu", class_names=["cat", "dog"])
    assert eps_of(model) == {0.0}
    again = MaskRCNN(model.save(tmp_path / "ours.safetensors"), device="cpu")
    assert (eps_of(again), again.fingerprint) == ({0.0}, model.fingerprint)
    assert caplog.records == []
    with pytest.raises(SettingsError, match="norm_eps is a number from 0 to 1"):
        MaskRCNN(frozen, norm_eps=-1)


def test_class_names(tmp_path: Path, frozen: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffcat\n\n hot dog \r\n", encoding="utf-8")
    assert parse_class_names(str(tmp_path / "names.txt")) == ["cat", "hot dog"]
    assert parse_class_names("cat, hot dog,") == ["cat", "hot dog"]
    assert parse_class_names(None) is None
    assert len(parse_class_names(",".join(f"class {n}" for n in range(500))) or ()) == 500
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read as a list of class names"):
        parse_class_names(str(tmp_path / "binary"))
    with pytest.raises(SettingsError, match="class_names has 1 names"):
        MaskRCNN(frozen, class_names=["cat"])
