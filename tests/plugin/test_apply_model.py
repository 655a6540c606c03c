"""``dataset.apply_model`` on a real mongod."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image

from maskbridge.adapter import ImageError, MaskRCNN, SettingsError
from maskbridge.plugin.labels import to_detections
from maskbridge.plugin.model import MaskRCNNModel


@pytest.fixture
def model(bundled: MaskRCNN) -> MaskRCNNModel:
    return MaskRCNNModel(bundled, confidence_threshold=0.3)


@pytest.fixture
def filled(dataset: fo.Dataset, images: list[Path], astronaut: np.ndarray, tmp_path: Path) -> fo.Dataset:
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    dataset.add_samples([fo.Sample(str(path)) for path in [*images, tmp_path / "astronaut.png"]], progress=False)
    return dataset


def summary(labels: fo.Detections) -> list[tuple[Any, ...]]:
    return [(d.label, d.confidence, d.bounding_box, d.mask.shape, d.mask.sum()) for d in labels.detections]


def assert_close(actual: fo.Detections, expected: fo.Detections) -> None:
    """The same objects, scores to 1e-4, masks to a thousandth of their pixels."""
    assert [d.label for d in actual.detections] == [d.label for d in expected.detections]
    for one, other in zip(actual.detections, expected.detections):
        assert abs(one.confidence - other.confidence) < 1e-4
        np.testing.assert_allclose(one.bounding_box, other.bounding_box, atol=1e-4)
        if one.mask.shape == other.mask.shape:
            assert (one.mask != other.mask).mean() <= 0.001


def test_labels_are_the_adapters(filled: fo.Dataset, model: MaskRCNNModel, bundled: MaskRCNN) -> None:
    filled.apply_model(model, label_field="instances", progress=False)
    total = 0
    for sample in filled:
        expected = to_detections(bundled.predict(sample.filepath, confidence_threshold=0.3)[0])
        assert summary(sample.instances) == summary(expected)
        total += len(expected.detections)
    assert total > 2
    assert model.failures == []


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_batches_and_workers_give_identical_labels(method: str, filled: fo.Dataset, model: MaskRCNNModel) -> None:
    filled.persistent = True
    filled.apply_model(model, label_field="reference", batch_size=1, num_workers=0, progress=False)
    script = Path(__file__).with_name("apply_in_process.py")
    command = [sys.executable, str(script), method, filled.name, "one,1,2", "four,4,2", "alone,4,0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    filled.reload()
    for sample in filled:
        assert summary(sample.one) == summary(sample.reference)
        assert_close(sample.four, sample.reference)
        assert summary(sample.alone) == summary(sample.four)


def test_bad_images_fail_alone(filled: fo.Dataset, model: MaskRCNNModel, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    bad = [fo.Sample(str(tmp_path / "text.jpg")), fo.Sample(str(tmp_path / "missing.jpg"))]
    filled.add_samples(bad, progress=False)
    for workers in (0, 2):
        filled.apply_model(model, label_field="instances", batch_size=16, num_workers=workers, progress=False)
        assert filled.count("instances") == len(filled) - 2
        assert [(f.sample_id, Path(f.path).name) for f in model.failures] == [  # type: ignore[arg-type]
            (bad[0].id, "text.jpg"),
            (bad[1].id, "missing.jpg"),
        ]
        assert "no such file" in model.failures[1].reason
    bad[0]["instances"] = fo.Detections()
    bad[0].save()
    filled.apply_model(model, label_field="instances", progress=False)
    assert filled[bad[0].id].instances == fo.Detections(), "what a failed image had is kept"


def test_on_error_raise(filled: fo.Dataset, bundled: MaskRCNN, tmp_path: Path) -> None:
    filled.add_sample(fo.Sample(str(tmp_path / "missing.jpg")))
    strict = MaskRCNNModel(bundled, on_error="raise")
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        filled.apply_model(strict, label_field="instances", skip_failures=False, progress=False)


def test_fiftyones_own_options(filled: fo.Dataset, model: MaskRCNNModel) -> None:
    view = filled.match(F("filepath").ends_with("astronaut.png"))
    view.apply_model(model, label_field="sure", confidence_thresh=0.95, pin_memory=True, progress=False)
    assert [len(labels.detections) for labels in view.values("sure")] == [0]
    assert filled.count("sure") == 1, "a view leaves the other samples alone"
    view.apply_model(model, label_field="people", classes=["person"], progress=False)
    assert len(view.first().people.detections) == 1
    with pytest.raises(SettingsError, match="did you mean 'person'"):
        view.apply_model(model, label_field="none", classes=["persn"], progress=False)
    with pytest.raises(SettingsError, match="confidence_threshold is a number from 0 to 1"):
        view.apply_model(model, label_field="none", confidence_thresh=5, progress=False)
    assert model.config.confidence_thresh is None


def test_masks_on_disk(filled: fo.Dataset, model: MaskRCNNModel, tmp_path: Path) -> None:
    filled.apply_model(model, label_field="stored", progress=False)
    filled.apply_model(model, label_field="instances", output_dir=str(tmp_path / "masks"), progress=False)
    for sample in filled:
        for on_disk, in_database in zip(sample.instances.detections, sample.stored.detections):
            assert on_disk.mask is None
            assert Path(on_disk.mask_path).parent == tmp_path / "masks"
            np.testing.assert_array_equal(on_disk.get_mask() > 0, in_database.mask)


def test_images_without_objects_get_empty_detections(dataset: fo.Dataset, model: MaskRCNNModel, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (99, 99, 99)).save(tmp_path / "gray.png")
    dataset.add_sample(fo.Sample(str(tmp_path / "gray.png")))
    dataset.apply_model(model, label_field="instances", progress=False)
    assert dataset.first().instances == fo.Detections(detections=[])


def test_a_slice_of_groups(dataset: fo.Dataset, model: MaskRCNNModel, images: list[Path]) -> None:
    dataset.add_group_field("group", default="left")
    for left, right in zip(images[:2], images[2:4]):
        group = fo.Group()
        samples = [fo.Sample(str(path), group=group.element(name)) for name, path in (("left", left), ("right", right))]
        dataset.add_samples(samples, progress=False)
    dataset.select_group_slices("right").apply_model(model, label_field="instances", progress=False)
    assert dataset.select_group_slices("right").count("instances") == 2
    assert dataset.select_group_slices("left").count("instances") == 0


def test_frames_of_videos(dataset: fo.Dataset, model: MaskRCNNModel, astronaut: np.ndarray, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        assert not os.environ.get("CI"), "CI installs ffmpeg"
        pytest.skip("FiftyOne reads videos with ffmpeg, which is not installed")
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (256, 256))
    for _ in range(5):
        writer.write(cv2.resize(astronaut[:, :, ::-1], (256, 256)))
    writer.release()
    dataset.add_sample(fo.Sample(str(tmp_path / "a.mp4")))
    for field, batch_size in (("one", None), ("two", 2)):
        dataset.apply_model(model, label_field=f"frames.{field}", batch_size=batch_size, progress=False)
        counts = [len(frame[field].detections) for frame in dataset.first().frames.values()]
        assert len(counts) == 5
        assert min(counts) >= 1


def test_wrong_options(bundled: MaskRCNN) -> None:
    for options, says in (
        ({"on_error": "ignore"}, "on_error"),
        ({"device": "cpu"}, "pass these arguments to the MaskRCNN"),
        ({"classes": ["persn"]}, "did you mean"),
        ({"confidence_threshold": 2}, "from 0 to 1"),
    ):
        with pytest.raises(SettingsError, match=says):
            MaskRCNNModel(bundled, **options)  # type: ignore[arg-type]
