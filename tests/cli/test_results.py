"""What ``maskbridge predict`` writes is what COCO's tools read; what is dropped is counted and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from command_line import maskbridge
from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.journal import Journal


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A COCO file with ids of its own: images from 101, category 18 for people; category 7 is no class of the model."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "images" / "deep").mkdir(parents=True)
    names = ["b.png", "a.jpg", "deep/c.png"]
    images = []
    for number, name in enumerate(names, start=101):
        Image.fromarray(astronaut).resize((512 - 8 * number % 64, 400)).save(folder / "images" / name)
        width, height = Image.open(folder / "images" / name).size
        images.append({"id": number, "file_name": name, "height": height, "width": width})
    people = MaskRCNN("bundled", device="cpu").predict(
        [folder / "images" / name for name in names], confidence_threshold=0.5
    )
    annotations = [
        result | {"id": 10 * image["id"] + index, "category_id": 18, "image_id": image["id"], "iscrowd": 0, "area": 999.0}
        for image, instances in zip(images, people)
        for index, result in enumerate(instances.to_coco())
    ]
    categories = [{"id": 7, "name": "cat"}, {"id": 18, "name": "person"}]
    contents = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(contents))
    return folder / "labels.json"


@pytest.fixture(scope="module")
def predicted(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted")
    done = maskbridge("predict", labels, "-o", out, "--weights", "bundled", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_results_have_the_ids_of_the_labels(labels: Path, predicted: Path) -> None:
    truth = COCO(str(labels))
    results = truth.loadRes(str(predicted / "predictions.json"))
    evaluation = COCOeval(truth, results, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[1] > 0.99, "the labels are the model's own predictions"
    rows = read(predicted / "predictions.json")
    assert {row["category_id"] for row in rows} == {18}
    dataset = read(predicted / "dataset.json")
    assert {(image["id"], image["file_name"]) for image in dataset["images"]} == {
        (101, "b.png"),
        (102, "a.jpg"),
        (103, "deep/c.png"),
    }
    assert sorted(dataset["categories"], key=lambda row: row["id"]) == read(labels)["categories"]


def test_classes_that_the_labels_do_not_have_are_dropped_and_named(labels: Path, tmp_path: Path) -> None:
    contents = read(labels)
    contents["categories"] = [{"id": 7, "name": "cat"}]
    (labels.parent / "cats.json").write_text(json.dumps(contents | {"annotations": []}))
    done = maskbridge("predict", labels.parent / "cats.json", "-o", tmp_path, "--weights", "bundled", "--no-pictures")
    assert done.returncode == 3
    assert "dropped, since the labels have no such class: 3 person" in done.stderr
    assert read(tmp_path / "predictions.json") == []
    assert len(read(tmp_path / "dataset.json")["images"]) == 3
    assert list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_coco_reads_the_dataset(form: str, labels: Path, tmp_path: Path, bundled: MaskRCNN) -> None:
    images = labels.parent / "images"
    done = maskbridge("predict", images, "-o", tmp_path, "--weights", "bundled", "--format", form, "--no-pictures")
    assert done.returncode == 0, done.stderr
    dataset = COCO(str(tmp_path / "dataset.json"))
    assert sorted(dataset.imgs) == [1, 2, 3]
    for image in dataset.imgs.values():
        (expected,) = bundled.predict(images / image["file_name"], confidence_threshold=0.5)
        annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=image["id"]))
        assert [annotation["score"] for annotation in annotations] == expected.scores.tolist()  # type: ignore[union-attr]
        for annotation, frame in zip(annotations, expected.frames()):
            mask = dataset.annToMask(annotation).astype(bool)
            assert (mask & frame).sum() / (mask | frame).sum() > (0.999 if form == "rle" else 0.9)


def test_fiftyone_imports_the_dataset(labels: Path, predicted: Path) -> None:
    import fiftyone as fo

    dataset = fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(labels.parent / "images"),
        labels_path=str(predicted / "dataset.json"),
        label_types="segmentations",
        label_field="predicted",
        progress=False,
    )
    try:
        counts = dataset.count_values(
            "predicted_segmentations.detections.label"
            if dataset.has_field("predicted_segmentations")
            else "predicted.detections.label"
        )
        assert counts == {"person": len(read(predicted / "predictions.json"))}
        assert len(dataset) == 3
        field = "predicted_segmentations" if dataset.has_field("predicted_segmentations") else "predicted"
        for sample in dataset:
            assert all(detection.mask.any() for detection in sample[field].detections)
    finally:
        dataset.delete()


def test_supervision_imports_the_dataset(labels: Path, predicted: Path) -> None:
    import supervision as sv

    dataset = sv.DetectionDataset.from_coco(
        images_directory_path=str(labels.parent / "images"),
        annotations_path=str(predicted / "dataset.json"),
        force_masks=True,
    )
    assert len(dataset) == 3
    assert sum(len(detections) for _, _, detections in dataset) == len(read(predicted / "predictions.json"))


def test_evaluate_takes_predictions_of_a_file(labels: Path, predicted: Path, tmp_path: Path) -> None:
    for file in ("predictions.json", "dataset.json"):
        out = tmp_path / file
        done = maskbridge("evaluate", labels, "--predictions", predicted / file, "-o", out, "--worst", 0)
        assert done.returncode == 0, done.stderr
        assert read(out / "evaluation.json")["masks"]["numbers"]["AP50"] > 0.99
        assert "--confidence person=" in done.stdout


def test_results_of_another_tool_by_ids(labels: Path, tmp_path: Path) -> None:
    good = {"image_id": 101, "category_id": 18, "bbox": [1, 2, 30, 40], "score": 0.9}
    bad = [good | {"image_id": 999}, good | {"category_id": 5}, good | {"score": None}, good | {"bbox": [1]}]
    (tmp_path / "results.json").write_text(json.dumps([good, *bad, good | {"image_id": "102"}]))
    done = maskbridge("evaluate", labels, "--predictions", tmp_path / "results.json", "-o", tmp_path / "out", "--worst", 0)
    assert done.returncode == 3
    for reason in ("the labels have no image 999", "category 5 is not in", "its score is None", "a box is four numbers"):
        assert f"labels skipped: 1 x {reason}" in done.stdout
    (tmp_path / "other.json").write_text("{}")
    done = maskbridge("evaluate", labels, "--predictions", tmp_path / "other.json", "-o", tmp_path / "out")
    assert (done.returncode, "is neither COCO results" in done.stderr) == (1, True)


def test_check(labels: Path, tmp_path: Path) -> None:
    done = maskbridge("check", labels, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["images"], summary["classes"]["person"]["images"], summary["complete"]) == (3, 3, True)
    contents = read(labels)
    contents["images"][0]["width"], contents["images"][0]["height"] = 400, contents["images"][0]["width"]
    contents["images"][1]["file_name"] = "gone.jpg"
    contents["annotations"].append({"id": 1, "image_id": 5, "category_id": 7})
    (labels.parent / "bad.json").write_text(json.dumps(contents))
    done = maskbridge("check", labels.parent / "bad.json")
    assert done.returncode == 3
    for text in (
        "1 images (0 without objects)",
        "1 x it is of an image that the file does not list",
        "image skipped: gone.jpg (1 labels): it is not in",
        "it is 472 x 400 pixels, its labels are for 400 x 472",
        "turned by a quarter",
    ):
        assert text in done.stdout


def test_check_decodes_only_when_asked(tmp_path: Path, astronaut: np.ndarray) -> None:
    Image.fromarray(astronaut).save(tmp_path / "whole.jpg")
    (tmp_path / "part.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9000])
    assert maskbridge("check", tmp_path).returncode == 0
    done = maskbridge("check", tmp_path, "--decode")
    assert (done.returncode, "part.jpg" in done.stdout) == (3, True)


def test_ids_are_kept_when_images_are_added(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for name in ("01.jpg", "1.jpg", "b.png"):
        Image.new("RGB", (40, 30)).save(folder / name)
    arguments = ("predict", folder, "-o", out, "--weights", "bundled", "--no-pictures")
    assert maskbridge(*arguments).returncode == 0
    Image.new("RGB", (40, 30)).save(folder / "001.png")
    assert maskbridge(*arguments).returncode == 0
    images = read(out / "dataset.json")["images"]
    assert {image["file_name"]: image["id"] for image in images} == {"01.jpg": 1, "1.jpg": 2, "b.png": 3, "001.png": 4}


def test_a_journal_drops_an_incomplete_line_and_other_keys(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, "one") as journal:
        journal.append("a", {"value": 1})
        journal.append("b", {"value": 2})
        journal.append("a", {"value": 3})
    path.write_bytes(path.read_bytes() + b'{"name": "c", "val')
    with Journal(path, "one") as journal:
        assert (len(journal), journal["a"]["value"], "c" in journal) == (2, 3, False)
        journal.append("c", {"value": 4})
        assert journal["c"] == {"name": "c", "value": 4}
    with Journal(path, "two") as journal:
        assert len(journal) == 0
    path.write_bytes(b"\xff\xfe nonsense")
    with Journal(path, "two") as journal:
        assert len(journal) == 0


@pytest.mark.parametrize("command", ["predict", "train", "evaluate", "export", "demo"])
def test_a_folder_that_cannot_be_written_is_one_line(command: str, labels: Path, tmp_path: Path) -> None:
    arguments: dict[str, list[object]] = {
        "predict": [labels.parent / "images", "--weights", "bundled", "-o", "/sys/nowhere"],
        "train": [labels, "--weights", "bundled", "-o", "/sys/nowhere", "--epochs", 1],
        "evaluate": [labels, "--weights", "bundled", "-o", "/sys/nowhere"],
        "export": ["--weights", "bundled", "-o", "/sys/nowhere/a.onnx"],
        "demo": ["-o", "/sys/nowhere"],
    }
    done = maskbridge(command, *arguments[command])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("maskbridge: /sys/nowhere")


def test_files_of_macos_are_no_images(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\26\7")
    done = maskbridge("check", tmp_path)
    assert (done.returncode, "1 images" in done.stdout) == (0, True)
