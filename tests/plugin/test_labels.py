"""Instances to FiftyOne's labels and back, and what FiftyOne makes of them."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import fiftyone.utils.eta as foue
import numpy as np
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from maskbridge.adapter import Instances, MaskCrop, MaskRCNN
from maskbridge.adapter.masks import crop_of_frame
from maskbridge.plugin.labels import from_detections, from_polylines, to_detections, to_polylines, window_of
from seeded import seeded

sides = st.integers(1, 60)
edges = st.floats(-0.25, 1.25, width=32)


@given(edges, edges, st.floats(0, 1, width=32), st.floats(0, 1, width=32), sides, sides)
def test_windows_are_those_that_fiftyone_reads(x: float, y: float, w: float, h: float, height: int, width: int) -> None:
    detection = fo.Detection(bounding_box=[x, y, w, h], mask=np.ones((1, 1), dtype=bool))
    box = foue.to_detected_object(detection, extra_attrs=False).bounding_box
    left, top, wide, high = box.coords_in(frame_size=(width, height))
    assert window_of([x, y, w, h], (height, width)) == (left, top, left + wide, top + high)


@given(st.data(), sides, sides)
def test_fiftyone_renders_the_adapters_pixels(data: st.DataObject, height: int, width: int) -> None:
    frame = np.random.default_rng(data.draw(st.integers(0, 99))).random((height, width)) < 0.5
    x1, x2 = sorted(data.draw(st.floats(0, width, width=32)) for _ in "12")
    y1, y2 = sorted(data.draw(st.floats(0, height, width=32)) for _ in "12")
    instances = Instances((height, width), [[x1, y1, x2, y2]], [0], ("thing",), [crop_of_frame(frame)])
    labels = to_detections(instances)
    shown = labels.detections[0].to_segmentation(frame_size=(width, height), target=1).mask != 0
    left, top, right, bottom = window_of(labels.detections[0].bounding_box, (height, width))
    np.testing.assert_array_equal(shown[top:bottom, left:right], frame[top:bottom, left:right])
    assert shown.sum() == frame[top:bottom, left:right].sum()
    assert labels.to_segmentation(frame_size=(width, height)).mask.shape == (height, width)


def test_predictions_render_in_fiftyone_as_the_adapter_has_them(images: list[Path]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.1)
    instances = model.predict(images[0])[0]
    assert len(instances) > 20
    for index, label in enumerate(to_detections(instances).detections):
        shown = label.to_segmentation(frame_size=instances.size[::-1], target=1).mask != 0
        left, top, right, bottom = window_of(label.bounding_box, instances.size)
        np.testing.assert_array_equal(shown[top:bottom, left:right], instances.frame(index)[top:bottom, left:right])
        assert not (shown & ~instances.frame(index)).any()
        assert (label.label, label.confidence) == (instances.names[index], float(instances.scores[index]))  # type: ignore[index]


def test_detections_and_back(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    instances = bundled.predict(astronaut)[0]
    labels = to_detections(instances)
    back = from_detections(labels, instances.size, bundled.class_names)
    assert back.names == instances.names
    np.testing.assert_allclose(back.boxes, instances.boxes, rtol=1e-5)
    np.testing.assert_array_equal(back.scores, instances.scores)
    again = to_detections(back)
    for one, other in zip(labels.detections, again.detections):
        assert one.id == other.id
        np.testing.assert_array_equal(one.mask, other.mask)


def test_peoples_ids_and_attributes_come_back_as_they_were() -> None:
    label = fo.Detection(label="cat", bounding_box=[0.1, 0.1, 0.5, 0.5], index=4, tags=["checked"], color="red")
    again = to_detections(from_detections([label], (40, 50))).detections[0]
    assert again.to_dict() == label.to_dict()
    line = fo.Polyline(
        label="cat", points=[[(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)]], closed=True, filled=True, tags=["a"], color="red"
    )
    back = to_polylines(from_polylines([line], (40, 50))).polylines[0]
    assert (back.id, back.label, back.tags, back["color"]) == (line.id, "cat", ["a"], "red")


def test_masks_on_disk_masks_of_other_sizes_and_no_masks(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:15, 5:15] = 255
    stored = fo.Detection(label="a", bounding_box=[0.25, 0.25, 0.5, 0.5], mask=mask)
    stored.export_mask(str(tmp_path / "mask.png"), update=True)
    larger = fo.Detection(label="b", bounding_box=[0.25, 0.25, 0.5, 0.5], mask=np.ones((77, 33), dtype=bool))
    bare = fo.Detection(label="a", bounding_box=[0.0, 0.0, 0.5, 0.5], confidence=0.5)
    instances = from_detections([stored, larger, bare], (40, 40))
    assert instances.class_names == ("__background__", "a", "b")
    assert [crop and crop.area for crop in instances.masks] == [100, 400, None]
    assert instances.scores is None
    assert to_detections(instances).detections[2].mask is None


def test_no_objects() -> None:
    for labels in (None, fo.Detections()):
        assert len(from_detections(labels, (4, 4))) == 0
    assert to_detections(Instances((4, 4), np.zeros((0, 4)), np.zeros(0), ("a",), ())).detections == []


def test_boxes_thinner_than_a_pixel(tmp_path: Path) -> None:
    thin = Instances((10, 10), [[2.2, 1, 2.6, 7]], [0], ("a",), [MaskCrop(2, 1, np.ones((6, 1), dtype=bool))])
    label = to_detections(thin).detections[0]
    assert not label.to_segmentation(frame_size=(10, 10)).mask.any()
    label.export_mask(str(tmp_path / "mask.png"), update=True)
    assert len(from_detections([label], (10, 10))) == 1


def test_polylines_and_back(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    instances = bundled.predict(astronaut)[0]
    back = from_polylines(to_polylines(instances, max_points=100), instances.size, bundled.class_names)
    assert back.names == instances.names
    for frame, other in zip(instances.frames(), back.frames()):
        assert (frame & other).sum() / (frame | other).sum() > 0.9  # holes are filled
    with pytest.raises(TypeError):
        to_polylines(instances, points=3)
    open_line = fo.Polyline(label="path", points=[[(0.1, 0.1), (0.9, 0.9)]], closed=False, filled=False)
    assert from_polylines([open_line], (20, 20)).masks == (None,)


def test_ids_of_other_tools_come_back(dataset: fo.Dataset) -> None:
    own = str(ObjectId())
    crop = MaskCrop(1, 1, np.ones((3, 3), dtype=bool))
    drawn = Instances((10, 10), [[1, 1, 4, 4]] * 3, [1] * 3, ("_", "a"), [crop] * 3, ids=("17", "aB3_x", own))
    sample = fo.Sample("image.jpg", drawn=to_detections(drawn), outlines=to_polylines(drawn))
    dataset.add_sample(sample)
    dataset.reload()
    kept = dataset.first()
    assert from_detections(kept.drawn, (10, 10)).ids == drawn.ids
    assert from_polylines(kept.outlines, (10, 10)).ids == drawn.ids
    assert [label.id == own for label in kept.drawn.detections] == [False, False, True]
    assert to_detections(from_detections(kept.drawn, (10, 10))).detections[1].source_id == "aB3_x"
