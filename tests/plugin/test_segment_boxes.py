"""``segment_boxes`` from code, on a real mongod."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np
import pytest

from maskbridge.adapter import SettingsError
from plugin_operators import FAST, operator


def test_masks_for_boxes_keep_everything_else(boxes: fo.Dataset) -> None:
    operator("segment_boxes")(boxes, "predicted", new_field="filled", **FAST)
    for sample in boxes:
        for before, after in zip(sample.predicted.detections, sample.filled.detections):
            assert before.mask is None
            assert after.mask.any()
            assert (after.id, after.label, after.tags) == (before.id, before.label, before.tags)
            assert (after.confidence, after["checked_by"]) == (None, "ann")
            np.testing.assert_allclose(after.bounding_box, before.bounding_box, atol=1e-6)
    first = boxes.first().filled.detections[0].mask
    operator("segment_boxes")(boxes, "predicted", **FAST)
    np.testing.assert_array_equal(boxes.first().predicted.detections[0].mask, first)


def test_masks_for_odd_boxes_and_labels(boxes: fo.Dataset) -> None:
    sample = boxes.first()
    mine = np.ones((3, 3), dtype=bool)
    sample["predicted"] = fo.Detections(
        detections=[
            fo.Detection(label="zebra crossing", bounding_box=[0.2, 0.1, 0.5, 0.7]),
            fo.Detection(label="person", bounding_box=[0.2, 0.1, 0.0, 0.7]),
            fo.Detection(label="person", bounding_box=[0.2, 0.1, 0.1, 0.1], mask=mine, confidence=0.5),
        ]
    )
    sample.save()
    report = operator("segment_boxes")(boxes.limit(1), "predicted", **FAST)
    sample.reload()
    unknown, empty, kept = sample.predicted.detections
    assert unknown.label == "zebra crossing"
    assert unknown.mask.any()
    assert empty.mask is None
    assert kept.mask.all()
    assert report["failed"] == 1
    for field, says in (("filepath", "holds no detections"), ("nothing", "does not exist")):
        with pytest.raises(SettingsError, match=says):
            operator("segment_boxes")(boxes, field, **FAST)


@pytest.mark.parametrize(
    "options",
    [{"new_field": "no.name"}, {"new_field": "_first"}, {"mask_threshold": 2}, {"num_workers": -1}, {"mask_treshold": 0.5}],
)
def test_wrong_options_for_boxes_are_named(boxes: fo.Dataset, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        operator("segment_boxes")(boxes, "predicted", **{**FAST, **options})
