"""Each tag: what it writes is exact, valid, and comes back."""

from __future__ import annotations

import base64
import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from label_studio_sdk.converter import brush
from PIL import Image

from label_studio_checks import check_region, check_result, mask_of
from maskbridge.adapter import Instances
from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.masks import MaskCrop, crop_of_frame
from maskbridge.labelstudio.tags import (
    TAGS,
    BitmaskLabels,
    BrushLabels,
    LabelTag,
    PolygonLabels,
    RectangleLabels,
    rle,
)

NAMES = ("__background__", "cat", "dog")
frames = arrays.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)))


def tag_of(kind: type[LabelTag], **others: Any) -> LabelTag:
    return kind("label", "image", {"cat": "Cat"}, **others)


def instances(frame: np.ndarray, *, label: int = 1, score: float | None = 0.75) -> Instances:
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 1, 1]
    return Instances(frame.shape, [box], [label], NAMES, [crop_of_frame(frame)], scores=None if score is None else [score])


def blobs(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Ragged components with holes, as masks of images are."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(size), (0, 0), 9)
    return noise > np.quantile(noise, 0.7)


@given(frames)
def test_run_lengths_are_the_sdks(frame: np.ndarray) -> None:
    data = rle.encode(crop_of_frame(frame), frame.shape)
    picture = np.repeat(frame.astype(np.uint8) * 255, 4)
    assert brush.encode_rle(picture) in (list(data), [*data, 0])
    np.testing.assert_array_equal(brush.decode_rle(list(data)), picture)
    np.testing.assert_array_equal(rle.decode(data, frame.shape).frame(frame.shape), frame)


def test_run_lengths_longer_than_the_format_can_say() -> None:
    frame = np.zeros((600, 800), dtype=bool)
    frame[100:500] = True  # one run of 1,280,000 values
    data = rle.encode(crop_of_frame(frame), frame.shape)
    assert list(data) == brush.mask2rle(frame.astype(np.uint8) * 255)
    np.testing.assert_array_equal(rle.decode(data, frame.shape).frame(frame.shape), frame)


def test_run_lengths_of_the_editor_with_single_values() -> None:
    """The editor writes single values too, and strokes with soft edges: half covered counts."""
    bits = f"{8:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in (9, 9, 9, 127, 9, 9, 9, 128))
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    np.testing.assert_array_equal(rle.decode(data, (1, 2)).frame((1, 2)), [[False, True]])


@given(st.binary(max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_broken_run_lengths_are_an_error(data: bytes, height: int, width: int) -> None:
    try:
        crop = rle.decode((height * width * 4).to_bytes(4, "big") + data, (height, width))
    except AnnotationError:
        return
    assert crop.frame((height, width)).shape == (height, width)


@pytest.mark.parametrize("kind", TAGS, ids=lambda kind: kind.kind)
def test_every_tag_comes_back_as_the_same_object(kind: type[LabelTag]) -> None:
    """On an image that is wider than high, with an object that is not symmetric: swapped axes would show."""
    frame = np.zeros((40, 90), dtype=bool)
    frame[4:30, 50:60] = True
    frame[22:30, 50:85] = True
    original = instances(frame)
    regions = tag_of(kind).encode(original)
    check_result(regions, {"Cat"})
    back = tag_of(kind).decode(regions)
    assert (back.size, back.names, len(back)) == (original.size, ["Cat"], 1)
    np.testing.assert_allclose(back.boxes, original.boxes, atol=1e-4 if not kind.needs_masks else 0.6)
    if kind.needs_masks:
        drawn = back.frame(0)
        assert (drawn & frame).sum() / (drawn | frame).sum() >= 0.95


@pytest.mark.parametrize("kind", TAGS, ids=lambda kind: kind.kind)
def test_regions_of_images_of_different_sizes_are_refused(kind: type[LabelTag]) -> None:
    regions = [
        region | {"id": f"{side}"}
        for side in (30, 31)
        for region in tag_of(kind).encode(instances(np.pad(np.ones((9, 9), bool), ((3, side - 12), (3, 10)))))
    ]
    with pytest.raises(AnnotationError, match="different sizes"):
        tag_of(kind).decode(regions)


def test_half_transparent_pixels_of_bitmasks_count_from_128_on() -> None:
    picture = np.zeros((1, 2, 4), dtype=np.uint8)
    picture[0, :, 3] = 127, 128
    file = io.BytesIO()
    Image.fromarray(picture, "RGBA").save(file, "PNG")
    (region,) = tag_of(BitmaskLabels).encode(instances(np.ones((1, 2), bool)))
    region["value"]["imageDataURL"] = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    np.testing.assert_array_equal(tag_of(BitmaskLabels).decode([region]).frame(0), [[False, True]])


@pytest.mark.parametrize("kind", [BrushLabels, BitmaskLabels])
@given(frame=frames)
def test_bitmaps_are_exact(kind: type[LabelTag], frame: np.ndarray) -> None:
    original = instances(frame)
    regions = tag_of(kind).encode(original)
    assert len(regions) == bool(frame.any())
    for region in regions:
        check_region(region, {"Cat"})
        np.testing.assert_array_equal(mask_of(region), frame)
        back = tag_of(kind).decode([region])
        np.testing.assert_array_equal(back.frame(0), frame)
        np.testing.assert_allclose(back.boxes, original.boxes)
        assert back.ids == (region["id"],)
        assert back.scores is not None
        assert back.scores[0] == np.float32(0.75)


@pytest.mark.parametrize("seed", range(6))
def test_polygons_keep_the_shape_of_each_component(seed: int) -> None:
    frame = blobs(seed)
    regions = tag_of(PolygonLabels).encode(instances(frame))
    check_result(regions, {"Cat"})
    count, parts = cv2.connectedComponents(frame.astype(np.uint8))
    components = []
    for part in range(1, count):
        contours, _ = cv2.findContours((parts == part).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros(frame.shape, dtype=np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)
        if filled.sum() >= 16:
            components.append(filled)
    assert len(regions) == len(components)
    decoded = tag_of(PolygonLabels).decode(regions)
    for index, region in enumerate(regions):
        drawn = decoded.frame(index)
        best = max((drawn & part).sum() / (drawn | part).sum() for part in components)
        assert best >= 0.95
        assert len(region["value"]["points"]) < 250
        assert region["value"]["closed"] is True


def test_polygons_say_that_holes_are_filled() -> None:
    frame = np.zeros((40, 40), dtype=bool)
    frame[5:35, 5:35] = True
    assert "meta" not in tag_of(PolygonLabels).encode(instances(frame))[0]
    frame[15:20, 15:20] = False
    region = tag_of(PolygonLabels).encode(instances(frame))[0]
    assert region["meta"] == {"text": ["holes of the mask are filled"]}
    np.testing.assert_array_equal(mask_of(tag_of(BrushLabels).encode(instances(frame))[0]), frame)


def test_specks_are_skipped_in_polygons_but_no_object_is() -> None:
    frame = np.zeros((40, 40), dtype=bool)
    frame[3:6, 3:6] = True
    assert len(tag_of(PolygonLabels).encode(instances(frame))) == 1
    frame[20:30, 20:30] = True
    regions = tag_of(PolygonLabels).encode(instances(frame))
    assert len(regions) == 1
    np.testing.assert_allclose(tag_of(PolygonLabels).decode(regions).boxes, [[20, 20, 30, 30]])


@given(
    st.floats(-50, 700, width=32), st.floats(-50, 500, width=32), st.floats(1, 900, width=32), st.floats(1, 900, width=32)
)
def test_rectangles_are_inside_the_image(x: float, y: float, width: float, height: float) -> None:
    size = (480, 640)
    box = [x, y, x + width, y + height]
    original = Instances(size, [box], [1], NAMES, [None], scores=[0.5])
    regions = tag_of(RectangleLabels).encode(original)
    inside = np.clip(np.array(box, dtype=np.float32), 0, [640, 480, 640, 480])
    assert len(regions) == bool(inside[0] < inside[2] and inside[1] < inside[3])
    for region in regions:
        check_region(region, {"Cat"})
        np.testing.assert_allclose(tag_of(RectangleLabels).decode([region]).boxes[0], inside, atol=1e-3)


def test_a_rotated_rectangle_comes_back_as_the_box_around_it() -> None:
    region = tag_of(RectangleLabels).encode(Instances((100, 200), [[50, 20, 70, 60]], [1], NAMES, [None], scores=[1]))[0]
    region["value"]["rotation"] = 90
    np.testing.assert_allclose(tag_of(RectangleLabels).decode([region]).boxes, [[10, 20, 50, 40]], atol=1e-4)


@pytest.mark.parametrize("kind", TAGS)
def test_labels_thresholds_and_people_without_scores(kind: type[LabelTag]) -> None:
    frame = blobs(1)
    assert tag_of(kind).encode(instances(frame, label=2)) == []  # dog has no label
    assert tag_of(kind, threshold=0.75).encode(instances(frame)) == []  # above, not at, as torchvision's
    assert tag_of(kind, threshold=0.7).encode(instances(frame)) != []
    drawn = tag_of(kind).encode(instances(frame, score=None))
    assert drawn
    assert all("score" not in region for region in drawn)
    assert tag_of(kind).decode(drawn).scores is None
    assert kind.matches(kind.kind.upper())
    assert not kind.matches("Choices")


def test_a_mask_with_no_pixels_has_no_mask_region() -> None:
    original = Instances((20, 30), [[1, 1, 5, 5]], [1], NAMES, [MaskCrop(1, 1, np.zeros((4, 4), bool))], scores=[0.9])
    assert [len(tag_of(kind).encode(original)) for kind in (BrushLabels, BitmaskLabels, PolygonLabels)] == [0, 0, 0]
    assert len(tag_of(RectangleLabels).encode(original)) == 1


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (BrushLabels, {"value": {"rle": [1, 2], "brushlabels": ["Cat"]}}, "no values"),
        (BrushLabels, {"value": {"rle": ["x"], "brushlabels": ["Cat"]}}, "malformed"),
        (BrushLabels, {"value": {"rle": [999], "brushlabels": ["Cat"]}}, "malformed"),
        (BrushLabels, {"original_width": 31}, "not 3720"),
        (BitmaskLabels, {"original_width": 31}, "30 x 30"),
        (
            BitmaskLabels,
            {"value": {"imageDataURL": "data:image/png;base64,AAAA", "bitmasklabels": ["Cat"]}},
            "PNG is corrupt",
        ),
        (BitmaskLabels, {"value": {"imageDataURL": "http://host/a.png", "bitmasklabels": ["Cat"]}}, "not a PNG"),
        (PolygonLabels, {"value": {"points": [[1, 1], [2, 2]], "polygonlabels": ["Cat"]}}, "three points"),
        (PolygonLabels, {"value": {"points": [[1, 1], [2, 2], [3]], "polygonlabels": ["Cat"]}}, "malformed"),
        (PolygonLabels, {"value": {"points": [[1, 1], [2, 2], [3, float("nan")]], "polygonlabels": ["Cat"]}}, "finite"),
        (PolygonLabels, {"original_height": 0}, "pixels of an image"),
        (PolygonLabels, {"original_height": None}, "pixels of an image"),
        (PolygonLabels, {"value": {"points": [], "polygonlabels": ["Horse"]}}, "Horse"),
        (PolygonLabels, {"value": None}, "malformed"),
        (RectangleLabels, {"value": {"x": 1, "y": 1, "width": 0, "height": 5, "rectanglelabels": ["Cat"]}}, "percent"),
        (RectangleLabels, {"value": {"x": "?", "rectanglelabels": ["Cat"]}}, "malformed"),
    ],
)
def test_broken_regions_are_named(kind: type[LabelTag], change: dict[str, Any], reason: str) -> None:
    frame = np.zeros((30, 30), dtype=bool)
    frame[4:20, 4:20] = True
    region = {**tag_of(kind).encode(instances(frame))[0], **change, "id": "region-7"}
    with pytest.raises(AnnotationError, match="region-7") as error:
        tag_of(kind).decode([region])
    assert reason in str(error.value)


def test_decoding_needs_a_region_of_the_tag() -> None:
    with pytest.raises(AnnotationError, match="no region of label"):
        tag_of(BrushLabels).decode([{"type": "choices", "from_name": "label"}])
