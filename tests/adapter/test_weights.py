"""Weights by name, file and URL; what does not fit is said, what holds code is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import ResNet50_Weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

from maskbridge.adapter import MaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.builders import BUILDERS
from maskbridge.adapter.weights import catalog, names

SMALL = "maskrcnn_mobilenet_v2_fpn"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_a_safetensors_file_alone_is_enough(tmp_path: Path, bundled: MaskRCNN) -> None:
    model = MaskRCNN(None, builder=SMALL, class_names=["cat", "dog"], min_size=64, box_nms_thresh=0.3)
    path = model.save(tmp_path / "mine.safetensors", extra={"note": "hello"})
    again = MaskRCNN(path)
    assert (again.builder, again.class_names) == (SMALL, ("__background__", "cat", "dog"))
    assert again.network.transform.min_size == (64,)
    assert again.network.roi_heads.nms_thresh == 0.3
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_half_precision_files_are_half_as_large(tmp_path: Path, bundled: MaskRCNN) -> None:
    whole, half = bundled.save(tmp_path / "a.safetensors"), bundled.save(tmp_path / "b.safetensors", half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    assert MaskRCNN(half).fingerprint == bundled.fingerprint  # the bundled values are halves already


def test_fingerprints_are_stable_and_tell_models_apart(tmp_path: Path, bundled: MaskRCNN) -> None:
    assert bundled.fingerprint == MaskRCNN("bundled").fingerprint == "8abe57d886f2"
    others = [
        MaskRCNN("bundled", min_size=400),
        MaskRCNN("bundled", class_names=["human"]),
        MaskRCNN(None, builder=SMALL, num_classes=2),
        MaskRCNN(None, builder=SMALL, num_classes=2),
    ]
    assert len({bundled.fingerprint, *(model.fingerprint for model in others)}) == 5


def test_a_state_that_does_not_fit_names_its_keys(tmp_path: Path, bundled: MaskRCNN) -> None:
    state = dict(bundled.network.state_dict())
    state["extra.weight"] = state.pop("rpn.head.cls_logits.bias")
    state["rpn.head.bbox_pred.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(WeightsError) as error:
        MaskRCNN(tmp_path / "odd.pth", builder=SMALL)
    for part in (
        "1 missing: rpn.head.cls_logits.bias",
        "1 unexpected: extra.weight",
        "rpn.head.bbox_pred.bias [3] instead",
    ):
        assert part in str(error.value)
    torch.save(dict(bundled.network.state_dict()), tmp_path / "small.pth")
    with pytest.raises(WeightsError, match="do not fit the network"):
        MaskRCNN(tmp_path / "small.pth", builder="maskrcnn_resnet50_fpn")


def test_a_safetensors_file_with_nonsense_in_its_metadata(tmp_path: Path) -> None:
    for metadata in (
        {"maskbridge": "1"},
        {"maskbridge": "1", "builder": "x", "class_names": "{", "arguments": "{}", "norm_eps": "null"},
        {"maskbridge": "9", "builder": "x"},
    ):
        safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
        with pytest.raises(WeightsError):
            MaskRCNN(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ("COCO_V7", "did you mean 'COCO_V1'"),
        ("bundle", "did you mean 'bundled'"),
        ("nowhere.pth", "no such file"),
        ("MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V2", "did you mean 'COCO_V1'"),
        ("http://localhost/a.pth", "https"),
        ("https://localhost/a.pth", "sha256"),
        (ResNet50_Weights.IMAGENET1K_V1, "not weights of a Mask R-CNN"),
    ],
)
def test_unknown_weights(weights: str, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        MaskRCNN(weights)


def test_weights_of_another_builder() -> None:
    with pytest.raises(WeightsError, match="are for maskrcnn_mobilenet_v2_fpn"):
        MaskRCNN("bundled", builder="maskrcnn_resnet50_fpn")
    assert MaskRCNN("DEFAULT", builder=SMALL).weights_name == "bundled"


def test_named_weights_are_torchvisions_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file of random values in the place of the download, which this machine may not reach."""
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for builder, member in (
        ("maskrcnn_resnet50_fpn", MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
        ("maskrcnn_resnet50_fpn_v2", MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1),
    ):
        path = cache / names._file_name(member)
        torch.save(BUILDERS[builder].build(num_classes=91).state_dict(), path)
        with pytest.raises(WeightsError, match="delete the file, it is corrupt"):
            MaskRCNN(member)
        monkeypatch.setattr(names, "sha256", lambda path: path.stem.split("-")[-1])
        model = MaskRCNN(str(member))
        assert model.builder == builder
        assert len(model.class_names) == 91
        assert model.class_names[12] == "N/A"
        assert not model.settings().classes[0]
        assert not model.settings().classes[12]
        with pytest.raises(SettingsError, match="unknown class 'N/A'"):
            model.settings(classes=["N/A"])
        norms = [m.eps for m in model.network.backbone.body.modules() if type(m).__name__ == "FrozenNorm"]
        assert set(norms) == ({0.0} if builder == "maskrcnn_resnet50_fpn" else set())
        assert MaskRCNN(path).class_names == model.class_names
        monkeypatch.undo()
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_a_download_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(WeightsError) as error:
        MaskRCNN("COCO_V1")
    for part in (
        "download.pytorch.org",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth into",
        str(catalog.weights_folder()),
        "bundled",
    ):
        assert part in str(error.value)
    assert list(catalog.weights_folder().iterdir()) == []
