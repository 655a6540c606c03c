"""A confidence threshold for each class, the same in every door."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskbridge.adapter import MaskRCNN, SettingsError
from maskbridge.adapter.confidence import Confidence, confidence_of
from maskbridge.adapter.evaluation.scores import best_f1
from seeded import seeded


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.3, Confidence(0.3)),
        ("0.3", Confidence(0.3)),
        ("person=0.6,dog=0.4", Confidence(0.5, (("person", 0.6), ("dog", 0.4)))),
        (" 0.2 , person = 0.6", Confidence(0.2, (("person", 0.6),))),
        ("a=b=0.7", Confidence(0.5, (("a=b", 0.7),))),
        ({"person": 1}, Confidence(0.5, (("person", 1.0),))),
        (Confidence(0.1), Confidence(0.1)),
    ],
)
def test_values(value: object, expected: Confidence) -> None:
    assert confidence_of(value) == expected  # type: ignore[arg-type]
    assert confidence_of(str(expected)) == expected


@pytest.mark.parametrize(
    "value", ["", "person", "person=", "person=high", "2", "person=-1", "nan", {"a": 2}, math.inf, None]
)
def test_values_that_are_no_threshold(value: object) -> None:
    with pytest.raises(SettingsError, match="confidence_threshold is a number from 0 to 1"):
        confidence_of(value)  # type: ignore[arg-type]


def test_a_threshold_for_each_class_keeps_what_is_above_it(astronaut: np.ndarray) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", num_classes=4)
    (everything,) = model.predict(astronaut, confidence_threshold=0.0, max_detections=1000)
    thresholds = {
        name: float(np.median(everything.scores[[n == name for n in everything.names]]))  # type: ignore[index]
        for name in sorted(set(everything.names))[:2]
    }
    (some,) = model.predict(astronaut, confidence_threshold={**thresholds}, max_detections=1000)
    (text,) = model.predict(astronaut, confidence_threshold=str(confidence_of(thresholds)), max_detections=1000)
    expected = [
        (name, score)
        for name, score in zip(everything.names, everything.scores.tolist())  # type: ignore[union-attr]
        if score > np.float32(thresholds.get(name, 0.5))
    ]
    assert list(zip(some.names, some.scores.tolist())) == expected  # type: ignore[union-attr]
    assert len(text) == pytest.approx(len(some), abs=2), "the text has six digits"
    assert 0 < len(some) < len(everything)


def test_an_unknown_class_is_named(bundled: MaskRCNN) -> None:
    with pytest.raises(SettingsError, match="unknown class 'persn': did you mean 'person'"):
        bundled.settings(confidence_threshold={"persn": 0.5})


@pytest.mark.parametrize(
    ("scores", "matches", "objects", "f1", "confidence"),
    [
        ([0.9, 0.8, 0.3], [1, 1, 0], 2, 1.0, 0.55),
        ([0.9, 0.3, 0.8], [0, 1, 1], 2, 0.8, 0.15),
        ([0.5, 0.5], [1, 0], 1, 2 / 3, 0.25),
        ([0.9], [0], 3, 0.0, -1),
        ([], [], 3, 0.0, -1),
        ([0.9], [0], 0, -1, -1),
    ],
)
def test_the_highest_f1(scores: list[float], matches: list[int], objects: int, f1: float, confidence: float) -> None:
    best = best_f1(np.array(scores), np.array(matches, dtype=bool), objects)
    assert best["best_f1"] == pytest.approx(f1)
    assert best["best_confidence"] == pytest.approx(confidence)
