"""Arguments and backbones of the builders."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from maskbridge.adapter import MaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.builders import ARGUMENTS, BUILDERS

SMALL = "maskrcnn_mobilenet_v2_fpn"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"min_siz": 3}, "did you mean 'min_size'"),
        ({"box_nms_thresh": 2}, "box_nms_thresh is a number from 0 to 1, not 2"),
        ({"box_detections_per_img": 0}, "whole number of 1 or more"),
        ({"min_size": -1}, "min_size"),
        ({"image_mean": [1, 2]}, "three numbers"),
        ({"fixed_size": (3,)}, "width, height"),
        ({"rpn_fg_iou_thresh": True}, "number from 0 to 1"),
        ({"trainable_backbone_layers": 6}, "from 0 to 5"),
        ({"num_classes": 1}, "2 or more"),
        ({"builder": "maskrcnn_resnet"}, "maskrcnn_resnet50_fpn"),
        ({"device": "tpu9"}, "device 'tpu9' cannot be used"),
        ({"precision": "int8"}, "precision 'int8' is for weights that `maskbridge quantize` wrote"),
        ({"precision": "float16"}, "precision on cpu is float32 or bfloat16, not 'float16'"),
        ({"class_names": ["a", "b"], "num_classes": 9}, "num_classes|class_names"),
        ({"box_predictor": None}, "unknown argument 'box_predictor'"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        MaskRCNN(None, **{"builder": SMALL, **arguments})  # type: ignore[arg-type]


def test_all_of_torchvisions_arguments_are_taken() -> None:
    assert {"min_size", "max_size", "rpn_nms_thresh", "box_score_thresh", "bbox_reg_weights", "fixed_size"} <= set(
        ARGUMENTS
    )
    model = MaskRCNN(None, builder=SMALL, box_score_thresh=0.2, box_detections_per_img=5, fixed_size=(96, 64))
    assert model.settings().confidence_threshold == 0.2
    assert model.settings().max_detections == 5


@pytest.mark.parametrize("builder", BUILDERS)
def test_trainable_backbone_layers(builder: str) -> None:
    counts = []
    for layers in range(6):
        network = MaskRCNN(None, builder=builder, num_classes=2, trainable_backbone_layers=layers).network
        counts.append(sum(parameter.requires_grad for parameter in network.backbone.body.parameters()))
        assert all(parameter.requires_grad for parameter in network.roi_heads.parameters())
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert counts[5] == len(list(network.backbone.body.parameters()))


def test_backbone_weights(tmp_path: Path) -> None:
    from torchvision.models import mobilenet_v2

    torch.save(mobilenet_v2().state_dict(), tmp_path / "backbone.pth")
    model = MaskRCNN(None, builder=SMALL, num_classes=3, weights_backbone=str(tmp_path / "backbone.pth"))
    expected = torch.load(tmp_path / "backbone.pth", weights_only=True)["features.0.0.weight"]
    assert torch.equal(model.network.backbone.body["0"][0].weight, expected)
    with pytest.raises(WeightsError, match="unknown weights"):
        MaskRCNN(None, builder=SMALL, weights_backbone="IMAGENET1K_V9")
    with pytest.raises(SettingsError, match="already include the backbone"):
        MaskRCNN("bundled", weights_backbone=str(tmp_path / "backbone.pth"))


def test_building_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for builder in BUILDERS:
            MaskRCNN(None, builder=builder, num_classes=2)
