"""The command line, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from conftest import ROOT
from maskbridge.adapter import MaskRCNN
from maskbridge.cli.main import run
from maskbridge.cli.places import find_images
from maskbridge.cli.predictions.image_files import image_files
from waiting import wait_for

COMMAND = [sys.executable, "-c", "from maskbridge.cli.main import run; run()"]


def maskbridge(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from maskbridge.cli.main import app; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(app, ['predict', '--help']).exit_code == 0;"
        "print([name for name in ('torch', 'numpy', 'fiftyone', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def folder(images: list[Path], astronaut: np.ndarray, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(astronaut).save(folder / "astronaut.png")
    Image.fromarray(astronaut).resize((200, 150)).save(folder / "astronaut.jpg")
    Image.open(images[0]).save(folder / "deep" / "000123.png")
    (folder / "text.jpg").write_text("not an image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def test_predict_with_another_engine(folder: Path, tmp_path: Path, bundled: MaskRCNN) -> None:
    out = tmp_path / "out"
    options = ["--weights", "bundled", "--engine", "onnxruntime", "--streams", 2, "--no-pictures"]
    done = maskbridge("predict", folder, "-o", out, *options)
    assert done.returncode == 3, done.stderr
    results = json.loads((out / "predictions.json").read_text())
    for name in ("astronaut.png", "astronaut.jpg"):
        expected = bundled.predict(folder / name, confidence_threshold=0.5)[0]
        scores = [result["score"] for result in results if result["file_name"] == name]
        assert scores == pytest.approx(expected.scores.tolist(), abs=1e-4)  # type: ignore[union-attr]


def test_predict(folder: Path, tmp_path: Path, bundled: MaskRCNN) -> None:
    out = tmp_path / "out"
    done = maskbridge("predict", folder, "-o", out, "--weights", "bundled", "--classes", "person", "--batch-size", 2)
    assert done.returncode == 3, done.stderr
    assert "failed: text.jpg: not an image" in done.stderr
    assert "astronaut.png" in done.stdout
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == [
        "astronaut.jpg.png",
        "astronaut.png.png",
        "deep/000123.png",
    ]
    results = json.loads((out / "predictions.json").read_text())
    dataset = json.loads((out / "dataset.json").read_text())
    expected = bundled.predict(folder / "astronaut.png", confidence_threshold=0.5)[0]
    mine = [result for result in results if result["file_name"] == "astronaut.png"]
    assert [result["score"] for result in mine] == expected.scores.tolist()  # type: ignore[union-attr]
    np.testing.assert_array_equal(coco_mask.decode(mine[0]["segmentation"]), expected.frame(0))
    assert [image["file_name"] for image in dataset["images"]] == ["astronaut.jpg", "astronaut.png", "deep/000123.png"]
    assert [image["id"] for image in dataset["images"]] == [1, 2, 3], "of relative paths in order; text.jpg is 4"
    assert {result["category_name"] for result in results} == {"person"}
    assert len(dataset["annotations"]) == len(results)
    picture = Image.open(out / "astronaut.png.png")
    assert picture.size == (512, 512)
    assert (np.asarray(picture) != np.asarray(Image.open(folder / "astronaut.png"))).any(axis=2).mean() > 0.01


def test_a_second_run_does_only_what_is_not_done(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("predict", folder, "-o", out, "--weights", "bundled")
    maskbridge(*arguments)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    first = (out / "predictions.json").read_bytes()
    Image.new("RGB", (50, 50)).save(folder / "text.jpg")  # mended
    done = maskbridge(*arguments)
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (out / "text.png").exists()
    assert (out / "predictions.json").read_bytes() == first
    maskbridge(*arguments, "--confidence", 0.01)
    assert len(json.loads((out / "predictions.json").read_text())) > len(json.loads(first))
    assert all(path.stat().st_mtime_ns > stamp for path, stamp in before.items()), "other settings start from scratch"


def test_killed_and_run_again_it_resumes(images: list[Path], tmp_path: Path) -> None:
    folder, out, whole = tmp_path / "many", tmp_path / "out", tmp_path / "whole"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:03}.jpg").symlink_to(images[index % len(images)])
    arguments = ("predict", folder, "--weights", "bundled", "-o")
    process = subprocess.Popen([*COMMAND, *map(str, arguments), str(out)], stdout=-3, stderr=-3)
    wait_for(lambda: len(list(out.glob("0*.png"))) >= 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("0*.png")}
    journal = (out / ".maskbridge-run.jsonl").read_text().count("\n")
    assert 4 <= journal < 60
    assert not (out / "predictions.json").exists()
    assert maskbridge(*arguments, out).returncode == 0
    kept = [path for path, stamp in done.items() if path.stat().st_mtime_ns == stamp]
    assert len(kept) >= journal - 1
    assert maskbridge(*arguments, whole).returncode == 0
    for name in ("predictions.json", "dataset.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_interrupted_it_names_the_way_to_resume(images: list[Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:03}.jpg").symlink_to(images[index % len(images)])
    command = [*COMMAND, "predict", str(folder), "--weights", "bundled", "-o", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(out.glob("0*.png"))) >= 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert errors.strip().endswith("maskbridge: interrupted; run the same command again to resume")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jpg"], "missing.jpg: no such file or folder"),
        (["."], "no images in ."),
        (["a.png", "--weights", "bundlde"], "unknown weights 'bundlde'"),
        (["a.png", "--weights", "bundled", "--classes", "persn"], "did you mean 'person'"),
        (["a.png", "--weights", "bundled", "--device", "tpu"], "device 'tpu' cannot be used"),
        (["a.png", "--confidence", "7"], "confidence_threshold is a number from 0 to 1, not 7"),
        (["a.png", "--weights", "bundled", "--confidence", "persn=0.5"], "unknown class 'persn': did you mean 'person'"),
    ],
)
def test_errors_are_a_line_without_a_traceback(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "a.png":
        Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["maskbridge", "predict", *arguments, "-o", "out"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code in (1, 2)
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.out + printed.err


def test_images_below_the_output_folder_are_not_predicted(tmp_path: Path) -> None:
    for name in ("a.png", "out/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    images = [i for path in (tmp_path, tmp_path / "a.png") for i in find_images(str(path), out=tmp_path / "out").images]
    assert [image.name for image in image_files(images)] == ["a.png"]


def test_demo(tmp_path: Path) -> None:
    import fiftyone as fo
    from fiftyone import ViewField as F

    environment = os.environ | {"MASKBRIDGE_HOME": str(tmp_path / "home"), "TORCH_HOME": str(tmp_path / "torch")}
    environment["https_proxy"] = "http://127.0.0.1:9"
    done = maskbridge("demo", "-o", tmp_path / "demo", env=environment)
    assert done.returncode == 0, done.stderr
    first, second, *others = done.stdout.splitlines()
    assert first.startswith("Downloading COCO's weights (80 classes, 178 MB), for at most 20 seconds")
    assert second.startswith("Not available. Weights: bundled, a small network that detects people only")
    assert not any("download" in line.lower() for line in others)
    dataset = fo.load_dataset("maskbridge-demo")
    assert len(dataset) == 6
    assert sum(count > 0 for count in dataset.values(F("instances.detections").length())) >= 5
    assert dataset.count("instances.detections.mask") >= 6
    assert len(list((tmp_path / "demo").glob("*-annotated.png"))) == 6
    with Image.open(tmp_path / "demo" / "contact-sheet.png") as sheet:
        assert sheet.size == (1456, 728)
    listed = (tmp_path / "demo" / "images" / "CREDITS.txt").read_text()
    for sample in dataset:
        assert f"{Path(sample.filepath).name}: https://" in listed
        assert f"{Path(sample.filepath).name} " in done.stdout, "the table"
    assert "maskbridge serve --weights bundled" in done.stdout
    assert maskbridge("demo", "-o", tmp_path / "demo", env=environment).returncode == 0, "again, over the first"


def test_serve_says_which_package_is_missing() -> None:
    program = (
        "import sys; sys.modules['waitress'] = None; sys.argv = ['maskbridge', 'serve'];"
        "from maskbridge.cli.main import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("maskbridge: this needs the package waitress: pip install ")
    assert line.endswith(f"'{ROOT}[labelstudio]'")


def test_serve_has_a_help() -> None:
    done = maskbridge("serve", "--help")
    assert done.returncode == 0
    assert "--label-studio-url" in done.stdout
