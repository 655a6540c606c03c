"""Instances to every form and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from maskbridge.adapter import Instances, MaskCrop, MaskRCNN
from maskbridge.adapter.coco import AnnotationError, decode_rle, encode_rle, polygon_iou
from maskbridge.adapter.masks import crop_of_frame
from maskbridge.adapter.pasting import _to_cpu
from maskbridge.adapter.polygons import _filled_parts, from_polygons, to_polygons

frames = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: arrays(bool, shape))


@pytest.fixture
def people(bundled: MaskRCNN, astronaut: np.ndarray) -> Instances:
    actual = bundled.predict(astronaut)[0]
    assert len(actual) > 1
    return actual


@given(frames)
def test_crops_of_frames(frame: np.ndarray) -> None:
    crop = crop_of_frame(frame)
    np.testing.assert_array_equal(crop.frame(frame.shape), frame)
    assert crop.area == frame.sum()
    assert not frame.any() or (crop.pixels[0].any() and crop.pixels[-1].any() and crop.pixels[:, 0].any())


def test_a_crop_does_not_keep_its_frame_in_memory() -> None:
    frame = np.zeros((1000, 1000), dtype=bool)
    frame[3:5, 7:9] = True
    for crop in (crop_of_frame(frame), decode_rle(encode_rle(crop_of_frame(frame), (1000, 1000)), (1000, 1000))):
        assert crop.pixels.base is None
        assert crop.pixels.nbytes == 4


@given(frames, st.integers(-3, 6), st.integers(-3, 6), st.integers(0, 9), st.integers(0, 9))
def test_windows_of_crops(frame: np.ndarray, x: int, y: int, width: int, height: int) -> None:
    padded = np.pad(frame, 16)
    window = crop_of_frame(frame).window(x, y, x + width, y + height)
    np.testing.assert_array_equal(window, padded[y + 16 : y + 16 + height, x + 16 : x + 16 + width])


@given(frames, st.integers(0, 3), st.integers(0, 3))
def test_rle_equals_pycocotools_and_comes_back(frame: np.ndarray, x: int, y: int) -> None:
    size = (frame.shape[0] + y, frame.shape[1] + x)
    crop = MaskCrop(x, y, frame)
    rle = encode_rle(crop, size)
    full = crop.frame(size)
    assert rle["counts"] == coco_mask.encode(np.asfortranarray(full, dtype=np.uint8))["counts"].decode()
    np.testing.assert_array_equal(decode_rle(rle, size).frame(size), full)
    counts = [int(c) for c in np.diff(np.flatnonzero(np.diff(full.T.ravel(), prepend=not full[0, 0], append=2)))]
    counts = [0, *counts] if full[0, 0] else counts
    np.testing.assert_array_equal(decode_rle({"size": list(size), "counts": counts}, size).frame(size), full)


def test_crops_come_from_a_gpu_in_one_piece() -> None:
    shapes = [(2, 3), (0, 0), (1, 4), (5, 1)]
    pieces = [(index, 2 * index, torch.rand(shape) > 0.5) for index, shape in enumerate(shapes)]
    for crop, (x, y, pixels) in zip(_to_cpu(pieces), pieces):
        assert (crop.x, crop.y) == (x, y)
        np.testing.assert_array_equal(crop.pixels, pixels.numpy())


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [4, 4], "counts": [3, 4]},
        {"size": [4, 4], "counts": [-3, 19]},
        {"size": [4, 4], "counts": [1.5, 14.5]},
        {"size": [4, 5], "counts": [20]},
        {"size": [4, 4], "counts": "zzzzzzzz"},
        {"size": [4, 4], "counts": "o" * 40},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": None},
        {"counts": [16]},
    ],
)
def test_malformed_rles_are_refused(rle: dict[str, object]) -> None:
    with pytest.raises(AnnotationError):
        decode_rle(rle, (4, 4))


@settings(max_examples=200)
@given(frames, st.sampled_from([0, 8, 250]))
def test_polygons_have_95_percent_iou_whatever_the_budget(frame: np.ndarray, budget: int) -> None:
    outlines = to_polygons(MaskCrop(3, 2, frame), max_points=budget)
    parts = sorted(_filled_parts(frame), key=lambda part: -int(part[0].sum()))
    assert len(outlines) == len(parts)
    for outline, (part, x, y) in zip(outlines, parts):
        assert len(outline) >= 3
        assert polygon_iou(outline - (3 + x, 2 + y), part) >= 0.95


def test_polygons_of_a_large_mask_keep_to_the_budget() -> None:
    rows, columns = np.mgrid[:600, :800]
    waves = np.hypot((rows - 300) / 250, (columns - 400) / 350) + 0.01 * np.sin(columns / 9) < 1
    for budget in (20, 60, 250):
        outline = to_polygons(MaskCrop(0, 0, waves), max_points=budget)[0]
        assert len(outline) <= budget
        back = from_polygons([outline], waves.shape).frame(waves.shape)
        assert (back & waves).sum() / (back | waves).sum() >= 0.95
    fewest = to_polygons(MaskCrop(0, 0, waves), max_points=0)[0]
    assert len(fewest) < 20


def test_holes_are_filled_and_small_parts_skipped() -> None:
    frame = np.zeros((30, 30), dtype=bool)
    frame[2:20, 2:20] = True
    frame[8:12, 8:12] = False
    frame[25, 25] = True
    whole, dot = to_polygons(crop_of_frame(frame))
    assert from_polygons([whole], frame.shape).area == 18 * 18
    assert sorted(map(tuple, dot)) == [(25, 25), (25, 26), (26, 25), (26, 26)]
    assert len(to_polygons(crop_of_frame(frame), min_area=2)) == 1


def test_torchvision_and_back(people: Instances) -> None:
    result = people.to_torchvision()
    assert {name: (value.dtype, tuple(value.shape)) for name, value in result.items()} == {
        "boxes": (torch.float32, (len(people), 4)),
        "labels": (torch.int64, (len(people),)),
        "scores": (torch.float32, (len(people),)),
        "masks": (torch.float32, (len(people), 1, 512, 512)),
    }
    target = people.to_target()
    assert (target["masks"].dtype, tuple(target["masks"].shape)) == (torch.uint8, (len(people), 512, 512))
    for form in (result, target):
        assert_same(Instances.from_torchvision(form, people.class_names), people, scores="scores" in form)


def test_coco_and_back_through_json(people: Instances) -> None:
    results = json.loads(json.dumps(people.to_coco(image_id=7)))
    assert {(result["image_id"], result["category_id"]) for result in results} == {(7, 1)}
    assert_same(Instances.from_coco(results, people.size, dict(enumerate(people.class_names))), people)


def test_ids_and_attributes_survive_coco() -> None:
    annotations = [
        {
            "id": 5,
            "category_id": 3,
            "bbox": [1, 1, 4, 4],
            "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]],
            "iscrowd": 0,
            "color": "red",
        },
        {"id": 6, "category_id": 9, "bbox": [0, 0, 2, 3]},
    ]
    actual = Instances.from_coco(annotations, (8, 8), {3: "cat", 9: "dog"})
    assert actual.names == ["cat", "dog"]
    assert actual.ids == ("5", "6")
    assert actual.attributes == ({"iscrowd": 0, "color": "red"}, {})
    assert actual.masks[1] is None
    assert actual.frame(0).sum() == 16
    back = actual.to_coco()
    assert back[0]["color"] == "red"
    assert "segmentation" not in back[1]


@pytest.mark.parametrize(
    "annotation",
    [
        {"category_id": 4, "bbox": [0, 0, 1, 1]},
        {"category_id": 3, "bbox": [0, 0, 1]},
        {"category_id": 3, "bbox": [0, 0, float("nan"), 1]},
        {"category_id": 3, "segmentation": [[0, 0, 1, 1]]},
        {"category_id": 3, "segmentation": [[0, 0, 1, 1, float("inf"), 3]]},
        {"category_id": 3, "segmentation": [["a"] * 6]},
        {"category_id": 3},
    ],
)
def test_broken_annotations_are_refused(annotation: dict[str, object]) -> None:
    with pytest.raises(AnnotationError):
        Instances.from_coco([annotation], (8, 8), {3: "cat"})


def test_polygons_and_back(people: Instances) -> None:
    back = Instances.from_polygons(people.to_polygons(), people.labels, people.class_names, people.size)
    for ours, theirs in zip(people.frames(), back.frames()):
        filled = np.zeros_like(ours)
        for part, x, y in _filled_parts(ours):
            filled[y : y + part.shape[0], x : x + part.shape[1]] |= part
        assert (filled & theirs).sum() / (filled | theirs).sum() >= 0.95


def test_choosing_some_and_wrong_parts(people: Instances) -> None:
    best = people[people.scores > 0.7]  # type: ignore[operator]
    assert 0 < len(best) < len(people)
    assert len(people[:0]) == 0
    assert people[-1].boxes.shape == (1, 4)
    with pytest.raises(ValueError, match="different lengths"):
        Instances((4, 4), np.zeros((2, 4)), np.zeros(1), ("a",), ())
    with pytest.raises(ValueError, match="labels must be"):
        Instances((4, 4), np.zeros((1, 4)), np.ones(1), ("a",), (None,))


def assert_same(actual: Instances, expected: Instances, *, scores: bool = True) -> None:
    assert actual.size == expected.size
    assert actual.names == expected.names
    np.testing.assert_allclose(actual.boxes, expected.boxes, rtol=1e-6)
    if scores:
        np.testing.assert_allclose(actual.scores, expected.scores, rtol=1e-6)  # type: ignore[arg-type]
    for frame, other in zip(actual.frames(), expected.frames()):
        np.testing.assert_array_equal(frame, other)


def test_supervision_and_back(people: Instances) -> None:
    detections = people.to_supervision()
    assert detections.data["class_name"].tolist() == people.names
    np.testing.assert_array_equal(detections.class_id, people.labels)
    np.testing.assert_array_equal(np.stack(list(people.frames())), detections.mask)
    check_equal(Instances.from_supervision(detections), people)
    confident = detections[detections.confidence > 0.5]  # what people use it for
    check_equal(Instances.from_supervision(confident), people[people.scores > 0.5])  # type: ignore[operator]
    check_equal(Instances.from_supervision(people[:0].to_supervision()), people[:0])


def test_supervision_with_compact_masks(people: Instances) -> None:
    from supervision.detection.compact_mask import CompactMask

    detections = people.to_supervision()
    assert isinstance(detections.mask, np.ndarray)
    detections.mask = CompactMask.from_dense(detections.mask, detections.xyxy, image_shape=people.size)
    actual = Instances.from_supervision(detections)
    for one, other, (x1, y1, x2, y2) in zip(actual.frames(), people.frames(), people.boxes.astype(int)):
        inside = np.s_[y1:y2, x1:x2]  # supervision cuts masks to their boxes
        np.testing.assert_array_equal(one[inside], other[inside])


def test_supervision_keeps_ids_and_attributes() -> None:
    names = ("__background__", "a cat", "ein Zebra 斑马")
    drawn = Instances(
        (4, 6), [[0, 0, 2, 2], [1, 1, 5, 3]], [2, 1], names, [None, MaskCrop(1, 1, np.ones((2, 4), dtype=bool))],
        ids=["k1", "k2"], attributes=[{"tags": ["a", "b"], "note": "x"}, {"tags": ["c", "d"]}],
    )  # fmt: skip
    actual = Instances.from_supervision(drawn.to_supervision(), names)
    assert (actual.names, actual.ids, actual.scores) == (drawn.names, drawn.ids, None)
    assert actual.attributes == ({"tags": ["a", "b"], "note": "x"}, {"tags": ["c", "d"], "note": None})
    np.testing.assert_array_equal(actual.labels, [2, 1])
    assert [frame.sum() for frame in actual.frames()] == [0, 8]


def test_supervision_of_other_models() -> None:
    import supervision as sv

    yolo = sv.Detections(
        np.array([[0, 0, 4, 4], [1, 1, 2, 2], [0, 0, 1, 1]], dtype=float),
        confidence=np.array([0.9, 0.8, 0.7]),
        class_id=np.array([7, 0, 7]),
        data={"class_name": np.array(["truck", "person", "truck"])},
    )
    actual = Instances.from_supervision(yolo, size=(8, 9))
    assert (actual.class_names, actual.names) == (("__background__", "person", "truck"), ["truck", "person", "truck"])
    yolo.data = {}
    assert Instances.from_supervision(yolo, [f"{i}" for i in range(8)], size=(8, 9)).names == ["7", "0", "7"]
    for options, message in (
        ({"size": (8, 9)}, "no class names"),
        ({"class_names": ["a"] * 8}, "pass size"),
        ({"class_names": ["a", "b"], "size": (8, 9)}, "labels must be in 0..1"),
    ):
        with pytest.raises(ValueError, match=message):
            Instances.from_supervision(yolo, **options)  # type: ignore[arg-type]
    yolo.data = {"class_name": np.array(["truck", "person", "zebra"])}
    with pytest.raises(ValueError, match="the names zebra are not in class_names"):
        Instances.from_supervision(yolo, ["__background__", "truck", "person"], size=(8, 9))
    empty = Instances.from_supervision(sv.Detections.empty(), ["__background__"], size=(8, 9))
    assert len(empty) == 0


def check_equal(actual: Instances, expected: Instances) -> None:
    assert (actual.size, actual.names, len(actual)) == (expected.size, expected.names, len(expected))
    np.testing.assert_array_equal(actual.boxes, expected.boxes)
    np.testing.assert_array_equal(actual.scores, expected.scores)  # type: ignore[arg-type]
    assert all(map(np.array_equal, actual.frames(), expected.frames()))
