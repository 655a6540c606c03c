"""Labels of a FiftyOne dataset: read for training, trained on by the operator, measured as FiftyOne measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from PIL import Image

from delegated_process import launched
from maskbridge.adapter import MaskbridgeError, MaskRCNN, SettingsError
from maskbridge.adapter.datasets.labeled_dataset import DataError
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.weights.catalog import entries, weights_folder
from maskbridge.plugin import MaskRCNNModel
from maskbridge.plugin.datasets import labeled_dataset
from maskbridge.plugin.evaluation import evaluation_key, of_field
from maskbridge.plugin.jobs import records
from maskbridge.plugin.labels import from_detections, to_detections, to_polylines, window_of
from maskbridge.plugin.operators.describe_run import failed_samples
from shapes import CLASSES, SMALL, shapes
from waiting import wait_for

URI = "@maskbridge/maskbridge/finetune"


@pytest.fixture
def labeled(dataset: fo.Dataset, tmp_path: Path) -> fo.Dataset:
    """Images of shapes with masks in the database, in files, and as polylines; one sample has none."""
    samples = []
    for index, (image, instances) in enumerate(shapes(5)):
        path = tmp_path / f"{index}.png"
        Image.fromarray(image).save(path)
        sample = fo.Sample(str(path), ground_truth=to_detections(instances), lines=to_polylines(instances))
        on_disk = to_detections(instances)
        for number, detection in enumerate(on_disk.detections):
            detection.export_mask(str(tmp_path / f"{index}-{number}-mask.png"), update=True)
        sample["files"] = on_disk
        samples.append(sample)
    Image.fromarray(shapes(6)[5][0]).save(tmp_path / "none.png")
    dataset.add_samples([*samples, fo.Sample(str(tmp_path / "none.png"))], progress=False)
    return dataset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled weights for small images: steps of a tenth of a second."""
    start = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL))
    return str(start.save(tmp_path_factory.mktemp("weights") / "small.safetensors"))


@pytest.mark.parametrize("field", ["ground_truth", "files", "lines"])
def test_labels_come_back_as_they_were(field: str, labeled: fo.Dataset) -> None:
    images = labeled_dataset(labeled, field)
    assert images.class_names == ("__background__", "bar", "disc")
    assert [len(image) for image in images] == [2, 2, 2, 2, 2, 0]
    for image, (_, expected) in zip(images, shapes(5)):
        instances = image.instances
        assert instances.names == expected.names
        for index, (one, other) in enumerate(zip(instances.frames(), expected.frames())):
            overlap = (one & other).sum() / (one | other).sum()
            assert overlap >= (0.95 if field == "lines" else 1.0)
            if field != "lines":
                np.testing.assert_allclose(instances.boxes[index], expected.boxes[index], atol=1e-3)


def test_ids_and_windows_survive_the_database(labeled: fo.Dataset) -> None:
    sample = labeled.first()
    size = shapes(1)[0][1].size
    instances = from_detections(sample.ground_truth, size, CLASSES)
    sample["again"] = to_detections(instances)
    sample.save()
    labeled.reload()
    again = from_detections(labeled.first().again, size, CLASSES)
    assert again.ids == instances.ids
    assert again.labels.tolist() == instances.labels.tolist()
    for index, detection in enumerate(sample.ground_truth.detections):
        x1, y1, x2, y2 = window_of(detection.bounding_box, size)
        assert (again.frame(index)[y1:y2, x1:x2] == instances.frame(index)[y1:y2, x1:x2]).all()


def test_labels_that_cannot_be_read_are_named(labeled: fo.Dataset, tmp_path: Path) -> None:
    sample = labeled.first()
    sample.ground_truth.detections[0].bounding_box = [0.1, 0.1]
    sample.save()
    (tmp_path / "gone.png").write_bytes(b"")
    labeled.add_samples([fo.Sample(str(tmp_path / "gone.png")), fo.Sample(str(tmp_path / "nosuch.png"))], progress=False)
    images = labeled_dataset(labeled, "ground_truth")
    assert len(images) == 6
    assert [label.image for label in images.skipped] == ["0.png"]
    assert [image.name for image in images.skipped_images] == ["gone.png", "nosuch.png"]
    assert images.skipped_images[1].reason == "no such file"


@pytest.mark.parametrize(
    ("field", "message"), [("nosuch", "no field 'nosuch'"), ("filepath", "holds StringField"), ("metadata", "holds")]
)
def test_fields_that_hold_no_labels(field: str, message: str, labeled: fo.Dataset) -> None:
    with pytest.raises(SettingsError, match=message):
        labeled_dataset(labeled, field)


def test_finetune_makes_weights_that_the_list_offers(labeled: fo.Dataset, home: Path, small: str) -> None:
    report = foo.get_operator(URI)(
        labeled,
        "ground_truth",
        weights=small,
        name="my-shapes",
        epochs=1,
        classes=["disc"],
        validation=0.4,
        progress=False,
    )
    assert report["state"] == "completed"
    assert (weights_folder() / "my-shapes.safetensors").is_file()
    assert "my-shapes.safetensors" in [entry.weights for entry in entries()]
    trained = MaskRCNN("my-shapes.safetensors")
    assert trained.class_names == ("__background__", "disc")
    trained.predict(labeled.first().filepath)
    run = records.describe(labeled, report["run_key"])
    assert (run["operator"], run["new_weights"]) == ("finetune", "my-shapes.safetensors")
    assert run["mask_mAP"] >= 0
    assert any("class 'bar' is not in the class list" in failure["reason"] for failure in run["failures"])


def test_finetune_of_what_people_pass(labeled: fo.Dataset, home: Path, small: str) -> None:
    finetune = foo.get_operator(URI)
    options = {"weights": small, "epochs": 1, "progress": False}
    one = finetune(labeled.limit(1), "ground_truth", name="one", **options)
    assert (one["state"], one["objects"]) == ("completed", 2)
    (note,) = records.describe(labeled, one["run_key"])["notes"]
    assert "too few" in note or "none of the 1 images" in note
    for sample in labeled.exists("ground_truth"):
        for detection, name in zip(sample.ground_truth.detections, ("traffic light", "斑马 / Zebra")):
            detection.label = name
        sample.save()
    finetune(labeled, "ground_truth", name="named", **options)
    assert MaskRCNN("named.safetensors").class_names == ("__background__", "traffic light", "斑马 / Zebra")
    labeled.apply_model(MaskRCNNModel(small, confidence_threshold=0.0001, max_detections=2), "predicted", progress=False)
    assert finetune(labeled, "predicted", name="predicted", **options)["state"] == "completed"


def test_finetune_without_anything_to_train_on_is_a_line(labeled: fo.Dataset, home: Path, small: str) -> None:
    options = {"weights": small, "epochs": 1, "progress": False}
    finetune, sample = foo.get_operator(URI), labeled.first()
    labeled.delete_sample_field("lines")
    with pytest.raises(SettingsError, match="no field 'lines'"):
        finetune(labeled, "lines", **options)
    with pytest.raises(SettingsError, match="the dataset has no samples"):
        finetune(fo.Dataset(), "ground_truth", **options)
    with pytest.raises(DataError, match="there are no images to train on"):
        finetune(labeled.limit(0), "ground_truth", **options)
    Path(sample.filepath).write_text("no image")
    with pytest.raises(DataError, match=r"1 images cannot be used: 0\.png: its header cannot be read"):
        finetune(labeled.limit(1), "ground_truth", **options)
    for detection in sample.ground_truth.detections:
        detection.mask = None
    sample["boxes"] = sample.ground_truth
    sample.save()
    Image.fromarray(shapes(1)[0][0]).save(sample.filepath)
    with pytest.raises(DataError, match="no label can be used in 1 images: 2 x a box without a mask"):
        finetune(labeled.limit(1), "boxes", **options)


def test_runs_of_finetune_are_described(labeled: fo.Dataset, home: Path, small: str) -> None:
    describe = foo.get_operator("@maskbridge/maskbridge/describe_run")
    with pytest.raises(SettingsError, match="has no runs"):
        describe(labeled)
    Path(labeled.first().filepath).write_text("no image")
    finetune = foo.get_operator(URI)
    one, two = (
        finetune(labeled, "ground_truth", name=name, weights=small, epochs=1, progress=False) for name in ("one", "two")
    )
    assert one["run_key"] != two["run_key"]
    assert [describe(labeled, run["run_key"])["new_weights"] for run in (one, two)] == [
        "one.safetensors",
        "two.safetensors",
    ]
    labeled.delete_sample_field("ground_truth")
    run = describe(labeled.limit(1))
    assert run["new_weights"] == "two.safetensors"
    assert failed_samples(labeled, run).values("id") == [labeled.first().id]
    assert records.unchanged_failures(labeled, "ground_truth") == {}


def test_finetune_delegated(labeled: fo.Dataset, home: Path, small: str) -> None:
    labeled.persistent = True
    queued = foo.get_operator(URI)(
        labeled, "ground_truth", weights=small, name="delegated", epochs=2, validation=0.0, delegate=True
    )
    service = DelegatedOperationService()

    def ended() -> bool:
        operation = service.get(queued.result["id"])
        assert operation.run_state != "failed", operation.result
        return operation.run_state == "completed"

    with launched() as process:
        wait_for(ended, process)
    assert MaskRCNN("delegated.safetensors").class_names == ("__background__", "bar", "disc")
    labeled.reload()
    assert records.describe(labeled, records.keys(labeled)[0])["best_epoch"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"name": "../../etc"}, "name is a name of letters"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"classes": ["zebra"]}, "no label can be used"),
        ({"label_field": "nosuch"}, "no field 'nosuch'"),
    ],
)
def test_wrong_options_are_named(
    options: dict[str, object], message: str, labeled: fo.Dataset, home: Path, small: str
) -> None:
    with pytest.raises(MaskbridgeError, match=message):
        foo.get_operator(URI)(labeled, **{"label_field": "ground_truth", "weights": small, "progress": False, **options})
    assert not (home / "weights").exists() or list((home / "weights").iterdir()) == []


def test_an_empty_view(labeled: fo.Dataset, home: Path, small: str) -> None:
    with pytest.raises(DataError, match="no images to train on"):
        foo.get_operator(URI)(labeled.limit(0), "ground_truth", weights=small, progress=False)


def test_scores_of_a_field_equal_fiftyones(labeled: fo.Dataset) -> None:
    rng = np.random.default_rng(0)
    for sample in labeled.exists("ground_truth"):
        detections = sample.ground_truth.copy()
        for detection in detections.detections:
            x, y, w, h = detection.bounding_box
            detection.bounding_box = [x + rng.normal(0, 0.02), y + rng.normal(0, 0.02), w, h]
            detection.confidence = float(rng.random())
        sample["predicted"] = detections
        sample.save()
    labels = labeled_dataset(labeled, "ground_truth")
    evaluation = run_to_end(of_field(labeled.name, "ground_truth", "predicted", labels))
    labeled.reload()
    assert evaluation_key("predicted") in labeled.list_evaluations()
    assert labeled.count("ground_truth.detections.maskbridge_predicted") == 10, "the panel's matches are written"
    boxes = labeled.evaluate_detections("predicted", "ground_truth", compute_mAP=True, progress=False)
    assert 0.05 < boxes.mAP() < 1
    assert abs(boxes.mAP() - evaluation.scores["boxes"].numbers["AP"]) < 1e-2


def predicted(labeled: fo.Dataset, change: Callable[[fo.Detection], None]) -> None:
    """A field of predictions: the labels, changed."""
    for sample in labeled.exists("ground_truth"):
        sample["predicted"] = sample.ground_truth.copy()
        for detection in sample.predicted.detections:
            detection.confidence = 0.9
            change(detection)
        sample.save()


def test_classes_that_were_never_predicted_count(labeled: fo.Dataset) -> None:
    predicted(labeled, lambda detection: setattr(detection, "label", "disc"))
    labels = labeled_dataset(labeled, "ground_truth")
    evaluation = run_to_end(of_field(labeled.name, "ground_truth", "predicted", labels))
    per_class = evaluation.scores["boxes"].per_class
    assert per_class["bar"]["AP"] == 0
    assert evaluation.scores["boxes"].numbers["AP"] == pytest.approx(per_class["disc"]["AP"] / 2)
    only = run_to_end(of_field(labeled.name, "ground_truth", "predicted", labels, class_names=["disc"]))
    assert only.scores["boxes"].numbers["AP"] == pytest.approx(per_class["disc"]["AP"])


def test_boxes_outside_of_their_image_are_measured(labeled: fo.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    """FiftyOne's own mask IoU fails on them."""
    predicted(labeled, lambda detection: setattr(detection, "bounding_box", [-0.2, 0.5, 0.6, 0.7]))
    labels = labeled_dataset(labeled, "ground_truth")
    evaluation = run_to_end(of_field(labeled.name, "ground_truth", "predicted", labels))
    assert 0 <= evaluation.scores["masks"].numbers["AP"] < 0.5
    assert "its panel shows boxes" in caplog.text
    labeled.reload()
    assert evaluation_key("predicted") in labeled.list_evaluations()
