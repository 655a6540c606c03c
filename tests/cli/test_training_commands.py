"""``maskbridge train``, ``evaluate`` and ``export``."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from backend_process import PROGRAM
from command_line import maskbridge
from maskbridge.adapter import MaskRCNN, OnnxMaskRCNN
from maskbridge.adapter.datasets.coco_dataset import write_coco
from maskbridge.adapter.datasets.labeled_dataset import labeled_images
from shapes import CLASSES, SMALL, shapes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn images with their labels in COCO's format, half of them in each of two splits; and weights for small images."""
    folder, pairs = tmp_path_factory.mktemp("coco"), []
    (folder / "images").mkdir()
    for index, (pixels, instances) in enumerate(shapes(12)):
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        pairs.append((folder / "images" / f"{index}.png", instances))
    write_coco(folder / "labels.json", labeled_images(pairs))
    listing = json.loads((folder / "labels.json").read_text())
    for index, image in enumerate(listing["images"]):
        image["split"] = "val" if index % 4 == 3 else "train"
    (folder / "labels.json").write_text(json.dumps(listing))
    MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL)).save(folder / "small.safetensors")
    (folder / "list.json").write_text("[3]")
    return folder


def data(folder: Path) -> tuple[object, ...]:
    splits = ("--split", "train", "--validation-split", "val")
    return (folder / "labels.json", *splits, "--weights", folder / "small.safetensors", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, str]:
    """The folder of a training run and what the command printed."""
    out = folder / "run"
    settings = ("--epochs", 12, "--batch-size", 3, "--learning-rate", 1e-3)
    done = maskbridge("train", *data(folder), *settings, "-o", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_train(trained: tuple[Path, str]) -> None:
    out, output = trained
    assert "9 images with 18 objects to train on, 3 for validation" in output
    assert "epoch" in output
    assert "mask mAP" in output
    assert {"best.safetensors", "last.safetensors", "metrics.csv", "curves.png", "training.ckpt"} <= {
        path.name for path in out.iterdir()
    }
    assert MaskRCNN(out / "best.safetensors").class_names == CLASSES


def test_evaluate(trained: tuple[Path, str], folder: Path, tmp_path: Path) -> None:
    weights = trained[0] / "best.safetensors"
    done = maskbridge("evaluate", folder / "labels.json", "--weights", weights, "--worst", 2, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "evaluation.json").read_text())["masks"]["numbers"]
    assert numbers["AP50"] > 0.5
    assert f"{numbers['AP50']:.4f}" in done.stdout
    assert "disc" in done.stdout
    assert (tmp_path / "precision-recall.png").read_bytes().startswith(b"\x89PNG")


def test_export(trained: tuple[Path, str], folder: Path, tmp_path: Path) -> None:
    image = folder / "images" / "1.png"
    weights = trained[0] / "best.safetensors"
    done = maskbridge("export", "--weights", weights, "-o", tmp_path / "shapes.onnx", "--images", image)
    assert done.returncode == 0, done.stderr
    assert "checked with" in done.stdout
    instances = OnnxMaskRCNN(tmp_path / "shapes.onnx").predict([image], confidence_threshold=0.5)[0]
    assert instances.names == MaskRCNN(weights, device="cpu").predict([image], confidence_threshold=0.5)[0].names


def test_two_processes_share_a_training(folder: Path, tmp_path: Path) -> None:
    command = (PROGRAM, "train", *data(folder), "--epochs", 2, "--devices", 2, "-o", tmp_path)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("images with") == done.stdout.count("the best weights") == 1, "only the main process prints"
    assert MaskRCNN(tmp_path / "last.safetensors").class_names == CLASSES
    _, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["train", "{folder}"], "a folder has no labels; name a .json file in it (labels.json, list.json)"),
        (["train", "label-studio:twelve"], "named by its number, as in label-studio:12"),
        (["train", "{folder}/nosuch.json"], "nosuch.json: cannot be read"),
        (["train", "{folder}/small.safetensors"], "small.safetensors: labels are FILE.json"),
        (
            ["train", "{folder}/labels.json", "--images", "{folder}"],
            "none of its 12 images can be used: 0.png: it is not in",
        ),
        (["train", "{folder}/labels.json", "--split", "test"], "no image of the split 'test'"),
        (["train", "{folder}/labels.json", "--classes", "zebra"], "no label can be used"),
        (["train", "{folder}/labels.json", "--classes", ","], "the class list is empty"),
        (["train", "{folder}/labels.json", "--learning-rate", "0"], "learning_rate is a number above 0, at most 1"),
        (
            ["train", "{folder}/labels.json", "--device", "cpu", "--precision", "float16"],
            "precision on cpu is float32 or bfloat16",
        ),
        (["train", "{folder}/labels.json", "--weights", "nosuch"], "unknown weights 'nosuch'"),
        (["evaluate", "{folder}/labels.json"], "nothing to measure"),
        (["evaluate", "{folder}/labels.json", "--predictions", "a"], "--predictions is a FILE.json, or a field"),
        (["evaluate", "fiftyone:nosuch-dataset"], "no FiftyOne dataset 'nosuch-dataset'"),
        (["evaluate", "{folder}/list.json"], "is not a JSON export"),
        (["evaluate", "{folder}/list.json", "--split", "train"], "Label Studio has no splits"),
        (["export", "--height", "320"], "--height and --width must be set together"),
        # Before weights are loaded:
        (["export", "--weights", "nosuch", "--height", "320", "--width", "300"], "multiples of 32 from 64 on, not 320 x"),
        (["export", "--weights", "nosuch", "--batch-size", "65"], "batch_size is a whole number from 1 to 64, not 65"),
        (["export", "--weights", "nosuch", "--images", "{folder}/nosuch.png"], "nosuch.png: no such file"),
    ],
)
def test_mistakes_are_named_in_a_line(arguments: list[str], output: str, folder: Path, tmp_path: Path) -> None:
    command = [argument.format(folder=folder) for argument in arguments]
    weights = [] if "--weights" in command else ["--weights", "bundled"]
    done = maskbridge(*command, *weights, "-o", tmp_path / "out.onnx")
    assert done.returncode == 1, done.stderr
    assert output in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("maskbridge: ")


def test_images_that_cannot_be_used_are_skipped_and_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "images", tmp_path / "images")
    (tmp_path / "images" / "3.png").write_text("no image")
    (tmp_path / "images" / "5.png").unlink()
    Image.open(folder / "images" / "6.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "images" / "6.png")
    for command in ("train", "evaluate"):
        done = maskbridge(
            command, folder / "labels.json", "--images", tmp_path / "images", "--weights",
            folder / "small.safetensors", *(["--classes", "disc"] if command == "evaluate" else ["--epochs", 1]),
            "-o", tmp_path / command,
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
        for text in (
            "3.png (2 labels): not an image",
            "5.png (2 labels): it is not in",
            "6.png (2 labels): it is 128 x 96",
        ):
            assert text in done.stdout
        done = maskbridge(
            command, folder / "labels.json", "--images", tmp_path / "images", "--weights",
            folder / "small.safetensors", "--strict", "-o", tmp_path / "strict",
        )  # fmt: skip
        assert (done.returncode, "5.png" in done.stderr) == (1, True)
