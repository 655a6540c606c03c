"""Weights by name, file and URL; what does not fit is said, what holds code is refused."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import ResNet50_Weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

from maskbridge.adapter import MaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.builders import ARGUMENTS, BUILDERS
from maskbridge.adapter.weights import catalog, names
from maskbridge.adapter.weights.download import download, sha256

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


def test_state_dicts(tmp_path: Path, bundled: MaskRCNN) -> None:
    state = bundled.network.state_dict()
    for name, content in {"plain.pth": state, "wrapped.pth": {"model": state, "epoch": 3}}.items():
        torch.save(content, tmp_path / name)
        model = MaskRCNN(tmp_path / name, builder=SMALL, class_names=["person"])
        assert model.fingerprint == bundled.fingerprint or model._arguments != bundled._arguments
        assert torch.equal(model.network.state_dict()["rpn.head.cls_logits.bias"], state["rpn.head.cls_logits.bias"])
    assert MaskRCNN(tmp_path / "plain.pth", builder=SMALL).class_names == ("__background__", "class_1")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("evil-was-here"),)


def test_a_pickle_with_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth: refused"):
        MaskRCNN(tmp_path / "evil.pth")
    assert not (tmp_path / "evil-was-here").exists()


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
        MaskRCNN(tmp_path / "small.pth")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pth", b"", "cannot be read"),
        ("a.pth", b"not a checkpoint", "refused|cannot be read"),
        ("a.safetensors", b"", "cannot be read"),
        ("a.safetensors", b"\xff" * 64, "cannot be read"),
        ("a.bin", b"1", r"\.safetensors or \.pth"),
    ],
)
def test_broken_files(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        MaskRCNN(tmp_path / name)


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
        with pytest.raises(WeightsError, match="delete the file, it is broken"):
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real https server on this machine, and the folder it serves."""
    folder = tmp_path_factory.mktemp("served")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "http://localhost:1/x")
                self.end_headers()
            elif self.path == "/short":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"too little")
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            yield f"https://localhost:{serving.server_address[1]}", folder
        serving.shutdown()


def test_weights_from_a_url_are_checked_and_kept(server: tuple[str, Path], bundled: MaskRCNN) -> None:
    address, folder = server
    path = bundled.save(folder / "mine.safetensors")
    url = f"{address}/mine.safetensors#sha256={sha256(path)}"
    assert MaskRCNN(url, progress=False).fingerprint == bundled.fingerprint
    path.unlink()
    assert MaskRCNN(url, progress=False).fingerprint == bundled.fingerprint, "the second time it is on this machine"
    assert [file.suffix for file in catalog.weights_folder().iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    ("page", "says"), [("moved", "not https"), ("short", "10 of 1,000"), ("none", "404"), ("wrong", "the sha256 is")]
)
def test_bad_downloads_leave_nothing(page: str, says: str, server: tuple[str, Path], tmp_path: Path) -> None:
    (server[1] / "wrong").write_text("another file")
    with pytest.raises(WeightsError, match=says):
        download(f"{server[0]}/{page}", tmp_path / "new" / "a.pth", sha256_prefix="00", progress=False)
    assert list((tmp_path / "new").iterdir()) == []


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
        ({"autocast": "int8"}, "autocast is"),
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
    with pytest.raises(SettingsError, match="hold a backbone already"):
        MaskRCNN("bundled", weights_backbone=str(tmp_path / "backbone.pth"))


def test_building_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for builder in BUILDERS:
            MaskRCNN(None, builder=builder, num_classes=2)
