"""What a call can choose, boxes that somebody already has, and many threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from maskbridge.adapter import MaskRCNN, SettingsError
from maskbridge.adapter.images import read
from seeded import seeded


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"confidence_threshold": 1.5}, "from 0 to 1, not 1.5"),
        ({"confidence_threshold": float("nan")}, "from 0 to 1"),
        ({"confidence_threshold": "high"}, "from 0 to 1"),
        ({"mask_threshold": -1}, "mask_threshold"),
        ({"max_detections": 0}, "1 or more"),
        ({"classes": ["persn"]}, "did you mean 'person'"),
        ({"classes": "person"}, "not one string"),
        ({"classes": ["__background__"]}, "unknown class"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str, bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    with pytest.raises(SettingsError, match=says):
        bundled.predict(astronaut, **settings)


@pytest.mark.engine
def test_no_classes_means_no_objects(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    assert len(bundled.predict(astronaut, classes=[])[0]) == 0


@pytest.mark.engine
def test_nothing_to_predict(bundled: MaskRCNN) -> None:
    assert bundled.predict([]) == []


@pytest.mark.engine
def test_predict_each_reads_images_as_they_are_needed(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    read_so_far = []

    def images() -> Any:
        for index in range(6):
            read_so_far.append(index)
            yield astronaut

    results = bundled.predict_each(images(), batch_size=2)
    next(results)
    assert read_so_far == [0, 1]


@pytest.mark.engine
def test_boxes_of_detections_give_their_masks(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    actual = bundled.predict(astronaut)[0]
    again = bundled.segment_boxes(astronaut, actual.boxes, actual.names)
    np.testing.assert_array_equal(again.boxes, actual.boxes)
    np.testing.assert_array_equal(again.labels, actual.labels)
    for frame, other in zip(actual.frames(), again.frames()):
        assert (frame != other).mean() < 0.001


def test_the_box_head_chooses_where_no_label_is_given() -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.3, num_classes=5)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    boxes = [[10, 10, 60, 70], [-20, 5, 500, 80], [0, 0, 1, 1], [30.2, 20.4, 30.9, 50]]
    actual = model.segment_boxes(image, boxes, ["class_2", None, 3, None])
    np.testing.assert_array_equal(actual.boxes, np.asarray(boxes, dtype=np.float32))
    assert (actual.labels[0], actual.labels[2]) == (2, 3)
    assert (actual.labels > 0).all()
    assert ((actual.scores >= 0) & (actual.scores <= 1)).all()  # type: ignore[operator]
    only = model.segment_boxes(image, boxes, classes=["class_4"])
    assert set(only.names) == {"class_4"}
    features = model.encode([read(image)])
    again = model.segment_boxes(features, boxes, ["class_2", None, 3, None])
    for frame, other in zip(actual.frames(), again.frames()):
        np.testing.assert_array_equal(frame, other)
    assert len(model.segment_boxes(image, [])) == 0


@pytest.mark.parametrize(
    ("boxes", "labels", "says"),
    [
        ([[1, 2, 3]], None, r"\[N, 4\]"),
        ([[1, 2, float("nan"), 9]], None, "box 0 has a coordinate"),
        ([[5, 5, 5, 9]], None, "box 0 .* no area"),
        ([[0, 0, 4, 4], [900, 0, 950, 9]], None, "box 1 .* no area inside the image of 512 x 512"),
        ([[0, 0, 9, 9]], ["persn"], "did you mean 'person'"),
        ([[0, 0, 9, 9]], ["person", "person"], "one label for each of the 1 boxes"),
        ([[0, 0, 9, 9]], [7], "labels are 1 to 1"),
        ([[0, 0, 9, 9]], [0], "labels are 1 to 1"),
    ],
)
def test_wrong_boxes_and_labels(boxes: Any, labels: Any, says: str, bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    with pytest.raises(SettingsError, match=says):
        bundled.segment_boxes(astronaut, boxes, labels)


@pytest.mark.engine
def test_threads_with_settings_of_their_own_do_not_disturb_each_other(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    choices = [
        {"confidence_threshold": 0.5},
        {"confidence_threshold": 0.05, "max_detections": 3},
        {"mask_threshold": 0.9},
        {"classes": []},
    ]
    expected = [bundled.predict(astronaut, **choice)[0] for choice in choices]
    with ThreadPoolExecutor(4) as workers:
        actual = list(workers.map(lambda index: bundled.predict(astronaut, **choices[index % 4])[0], range(24)))
    for index, instances in enumerate(actual):
        np.testing.assert_allclose(instances.boxes, expected[index % 4].boxes, atol=1e-2)
        for frame, other in zip(instances.frames(), expected[index % 4].frames()):
            assert (frame != other).mean() <= 0.001
