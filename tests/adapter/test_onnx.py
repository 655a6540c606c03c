"""ONNX: the exported file finds what the network finds, and nothing is written that was not checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from maskbridge.adapter import ImageError, MaskRCNN, OnnxMaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.export import onnx_export as exporting
from maskbridge.adapter.export.onnx_export import CHECK_IMAGE, ExportError, export
from maskbridge.adapter.export.onnx_mask_rcnn import fit
from maskbridge.adapter.images import read
from seeded import seeded


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, bundled: MaskRCNN, images: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "people.onnx"
    check = export(bundled, path, batch_size=2, images=images)
    assert check.passed
    assert check.objects >= 2 * len(images)
    return path


def test_the_same_input_gives_the_same_objects(file: Path, bundled: MaskRCNN, images: list[Path]) -> None:
    model = OnnxMaskRCNN(file)
    assert model.class_names == bundled.class_names
    assert model.fingerprint == bundled.fingerprint
    for image in [CHECK_IMAGE, *images]:
        fitted, _ = fit(read(image), model.input_size)
        # An image of just this size is not resized by either: the same padded input.
        padded = torch.zeros((3, *model.input_size))
        padded[:, : fitted.shape[-2], : fitted.shape[-1]] = fitted.clamp(0, 1)
        height, width = model.input_size
        whole = MaskRCNN(bundled.weights, min_size=height, max_size=width)
        (expected,), (actual,) = whole.predict([padded]), model.predict([padded])
        assert len(actual) == len(expected)
        np.testing.assert_allclose(actual.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4)  # type: ignore[arg-type]
        for one, other in zip(actual.frames(), expected.frames()):
            assert (one != other).sum() <= 0.001 * max(other.sum(), 1000)


def test_images_of_any_size_in_batches(file: Path, bundled: MaskRCNN, images: list[Path]) -> None:
    model = OnnxMaskRCNN(file)
    results = model.predict([CHECK_IMAGE, images[0], images[1]], confidence_threshold=0.5)
    with Image.open(images[0]) as image:
        assert results[1].size == (image.height, image.width)
    (alone,) = model.predict(CHECK_IMAGE, confidence_threshold=0.5)
    np.testing.assert_allclose(alone.boxes, results[0].boxes, atol=1e-2)
    (expected,) = bundled.predict(CHECK_IMAGE, confidence_threshold=0.5)
    assert alone.names[0] == expected.names[0] == "person"
    overlap = (alone.frame(0) & expected.frame(0)).sum() / (alone.frame(0) | expected.frame(0)).sum()
    assert overlap > 0.8, "the inputs' scales differ, the person does not"
    assert len(model.predict(CHECK_IMAGE, max_detections=1)[0]) == 1


def test_a_bad_image_is_named_and_alone(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    model = OnnxMaskRCNN(file)
    actual = list(model.predict_each([CHECK_IMAGE, tmp_path / "text.jpg", CHECK_IMAGE]))
    assert [isinstance(result, ImageError) for result in actual] == [False, True, False]
    with pytest.raises(ImageError, match=r"image 1 .*text\.jpg"):
        model.predict([CHECK_IMAGE, tmp_path / "text.jpg"])


def test_wrong_settings_are_named(file: Path) -> None:
    model = OnnxMaskRCNN(file)
    for options, message in (
        ({"confidence_threshold": 0.01}, "exported with a confidence_threshold of 0.05"),
        ({"max_detections": 101}, "at most 100"),
        ({"classes": ["zebra"]}, "unknown class 'zebra'"),
    ):
        with pytest.raises(SettingsError, match=message):
            model.predict(CHECK_IMAGE, **options)  # type: ignore[arg-type]


def test_files_that_are_not_ours(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not onnx")
    graph = onnx.load(str(file))
    del graph.metadata_props[:]
    onnx.save(graph, str(tmp_path / "other.onnx"))
    for name, message in (("text", "cannot be read"), ("other", "not written by maskbridge"), ("none", "cannot be read")):
        with pytest.raises(WeightsError, match=message):
            OnnxMaskRCNN(tmp_path / f"{name}.onnx")


def test_a_file_that_fails_its_check_is_not_written(
    bundled: MaskRCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BOX_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="results differ"):
        export(bundled, tmp_path / "a.onnx", input_size=(64, 96))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_check_with(tmp_path: Path) -> None:
    blind = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.0005, num_classes=3, box_score_thresh=0.9)
    with pytest.raises(ExportError, match="no object was detected"):
        export(blind, tmp_path / "a.onnx", input_size=(64, 96))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"input_size": (100, 96)}, "multiples of 32"), ({"batch_size": 0}, "1 to 64"), ({"path": "a.pt"}, "end in .onnx")],
)
def test_sizes_that_cannot_be(options: dict[str, object], message: str, bundled: MaskRCNN, tmp_path: Path) -> None:
    path = tmp_path / str(options.pop("path", "a.onnx"))
    with pytest.raises(SettingsError, match=message):
        export(bundled, path, **options)  # type: ignore[arg-type]
