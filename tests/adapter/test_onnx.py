"""ONNX: the exported file finds what the network finds, and nothing is written that was not checked."""

from __future__ import annotations

import json
import re
import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from maskbridge.adapter import ImageError, Instances, MaskRCNN, OnnxMaskRCNN, SettingsError, WeightsError
from maskbridge.adapter.export import onnx_export as exporting
from maskbridge.adapter.export.onnx_export import CHECK_IMAGE, ExportError, export
from seeded import seeded

ROOT = Path(__file__).resolve().parents[2]


PROGRAM = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "onnx.md").read_text(), flags=re.M | re.S)[-1]
SHAPES = {
    "square": (512, 512),
    "portrait": (512, 250),
    "wide": (150, 512),
    "flat": (40, 900),
    "tiny": (12, 9),
    "one pixel": (1, 1),
    "100 megapixels": (8700, 11500),
}


@pytest.fixture(scope="module", params=["the model's own size", "320 x 320, two a batch"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bundled: MaskRCNN, images: list[Path]
) -> tuple[Path, MaskRCNN]:
    """A file, and the model whose results it should give."""
    path = tmp_path_factory.mktemp("onnx") / "people.onnx"
    if request.param.startswith("the"):
        assert export(bundled, path, images=images).passed
        return path, bundled
    assert export(bundled, path, input_size=(320, 320), batch_size=2, images=images).passed
    return path, MaskRCNN(bundled.weights, min_size=320, max_size=320)


@pytest.fixture
def file(exported: tuple[Path, MaskRCNN]) -> Path:
    return exported[0]


@pytest.fixture(scope="module")
def of_all_shapes(astronaut: np.ndarray) -> dict[str, Image.Image]:
    return {name: Image.fromarray(astronaut).resize((width, height)) for name, (height, width) in SHAPES.items()}


def check_equal(actual: Instances, expected: Instances) -> None:
    """Within the tolerances of an export."""
    assert (actual.size, actual.names) == (expected.size, expected.names)
    assert actual.scores is not None
    assert expected.scores is not None
    np.testing.assert_allclose(actual.boxes, expected.boxes, atol=1e-2)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-4)
    for one, other in zip(actual.masks, expected.masks):
        assert one is not None
        assert other is not None
        x1, y1 = min(one.x, other.x), min(one.y, other.y)
        x2, y2 = (max(c.x + c.pixels.shape[1] for c in (one, other)), max(c.y + c.pixels.shape[0] for c in (one, other)))
        different = one.window(x1, y1, x2, y2) != other.window(x1, y1, x2, y2)
        assert different.sum() <= 0.001 * max(other.pixels.sum(), 1000)


def test_every_image_has_the_objects_of_the_model(
    exported: tuple[Path, MaskRCNN], of_all_shapes: dict[str, Image.Image], images: list[Path]
) -> None:
    (path, model), several = exported, [*of_all_shapes.values(), *images]
    results = OnnxMaskRCNN(path).predict(several)
    assert sum(len(result) for result in results) > 20
    for actual, image in zip(results, several):
        check_equal(actual, model.predict(image)[0])


def test_a_program_without_this_package_gives_the_same_masks(
    file: Path, of_all_shapes: dict[str, Image.Image], images: list[Path], tmp_path: Path
) -> None:
    model, counts, several = OnnxMaskRCNN(file), [], images
    if model.scaling.rule == "sides":  # one of the two files is enough for 100 megapixels
        of_all_shapes["100 megapixels"].save(tmp_path / "large.bmp")
        several = [*images, tmp_path / "large.bmp"]
    for path in several:
        code = PROGRAM.replace("results/people.onnx", str(file)).replace("maskbridge-demo/images/street.jpg", str(path))
        names: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            exec(code, names)
            (expected,) = model.predict(path, confidence_threshold=0.5)
        np.testing.assert_array_equal(names["boxes"][names["detected"]], expected.boxes)
        assert all(map(np.array_equal, names["frames"], expected.frames()))
        counts.append((len(names["frames"]), len(expected)))
    assert all(one == other for one, other in counts)
    assert sum(one for one, _ in counts) >= len(images)
    assert "maskbridge" not in PROGRAM.replace('["maskbridge"]', "").replace("maskbridge-demo", "")


def test_the_file_describes_itself(exported: tuple[Path, MaskRCNN]) -> None:
    path, model = exported
    session = onnxruntime.InferenceSession(path)
    batch = OnnxMaskRCNN(path).batch_size
    assert {value.name: value.shape for value in session.get_inputs()} == {
        "images": [batch, 3, "height", "width"],
        "sizes": [batch, 2],
    }
    shapes = {"boxes": [4], "labels": [], "scores": [], "masks": [1, 28, 28]}
    names = [f"_{image}" if image else "" for image in range(batch)]
    assert {value.name: value.shape for value in session.get_outputs()} == {
        name + end: [f"objects{end}", *shape] for end in names for name, shape in shapes.items()
    }
    about = json.loads(session.get_modelmeta().custom_metadata_map["maskbridge"])
    assert about["class_names"] == list(model.class_names)
    assert set(about["inputs"]) == {"images", "sizes"}
    assert set(about["outputs"]) == set(shapes)
    assert "bilinear" in session.get_modelmeta().description
    assert all(value.doc_string for value in [*onnx.load(str(path)).graph.input, *onnx.load(str(path)).graph.output])


def test_arguments_are_those_of_the_model(file: Path, images: list[Path]) -> None:
    model = OnnxMaskRCNN(file)
    assert model.class_names == ("__background__", "person")
    assert repr(model) == "OnnxMaskRCNN('bundled', builder='maskrcnn_mobilenet_v2_fpn')"
    own, other = (set(signature(kind.predict).parameters) for kind in (MaskRCNN, OnnxMaskRCNN))
    assert own == other
    assert len(model.predict(CHECK_IMAGE, max_detections=1, batch_size=1)[0]) == 1
    (result,) = model.predict_each([CHECK_IMAGE], settings=model.settings(masks=False))
    assert isinstance(result, Instances)
    assert set(result.masks) == {None}


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
        ({"batch_size": model.batch_size + 1}, "exported with a batch_size of"),
    ):
        with pytest.raises(SettingsError, match=message):
            model.predict(CHECK_IMAGE, **options)  # type: ignore[arg-type]


def test_files_that_are_not_ours(file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not onnx")
    graph = onnx.load(str(file))
    del graph.metadata_props[:]
    onnx.save(graph, str(tmp_path / "other.onnx"))
    onnx.helper.set_model_props(graph, {"maskbridge": json.dumps({"format": "1"})})
    onnx.save(graph, str(tmp_path / "older.onnx"))
    for name, message in (
        ("text", "cannot be read"),
        ("other", "not written by maskbridge"),
        ("older", r"written by an older maskbridge .*export it again"),
        ("none", "cannot be read"),
    ):
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
