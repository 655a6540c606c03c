"""Scores are pycocotools' own; what is skipped is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from conftest import SHARED
from maskbridge.adapter import Instances, MaskRCNN
from maskbridge.adapter.datasets.coco_dataset import read_coco, write_coco
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, labeled_images, usable
from maskbridge.adapter.evaluation.measure import evaluate, measure
from maskbridge.adapter.evaluation.report import write_report
from maskbridge.adapter.long_jobs import run_to_end
from shapes import images_of, shapes

COCO_MINI = SHARED / "coco-mini" / "instances.json"


def jittered(images: LabeledDataset, seed: int = 0) -> list[Instances]:
    """Predictions near the labels: boxes and masks moved, some missing, some of another class, random scores."""
    rng = np.random.default_rng(seed)
    made = []
    for image in images:
        truth = image.instances
        truth = truth[rng.random(len(truth)) < 0.8] if len(truth) else truth
        labels = np.where(rng.random(len(truth)) < 0.9, truth.labels, 1)
        moved = tuple(
            None if crop is None else replace(crop, x=max(crop.x + int(rng.integers(-3, 4)), 0)) for crop in truth.masks
        )
        boxes = truth.boxes + rng.normal(0, 3, truth.boxes.shape)
        scores = rng.random(len(truth))
        made.append(replace(truth, labels=labels, masks=moved, boxes=boxes, scores=scores, attributes=None, ids=None))
    return made


def test_numbers_equal_pycocotools(images_with_labels: LabeledDataset, tmp_path: Path) -> None:
    labeled = jittered(images_with_labels)
    evaluation = run_to_end(measure(images_with_labels, labeled, images_with_labels.class_names))
    write_coco(tmp_path / "labels.json", images_with_labels)
    truth = COCO(str(tmp_path / "labels.json"))
    for kind, theirs, other in (("boxes", "bbox", "segmentation"), ("masks", "segm", "bbox")):
        # With both in a result pycocotools would take the box's area for the mask's.
        found_in_all = [result for number, image in enumerate(labeled, start=1) for result in image.to_coco(number)]
        results = [{name: value for name, value in result.items() if name != other} for result in found_in_all]
        (tmp_path / "results.json").write_text(json.dumps(results))
        expected = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), theirs)
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
        numbers = list(evaluation.scores[kind].numbers.values())  # type: ignore[index]
        np.testing.assert_allclose(numbers, expected.stats, atol=1e-6)
        assert 0.1 < numbers[0] < 0.9


@pytest.fixture(scope="module")
def images_with_labels() -> LabeledDataset:
    """Real labels with crowds, where they are at hand; else discs and bars."""
    if COCO_MINI.is_file():
        return read_coco(COCO_MINI, split="val2017")
    return images_of(shapes(12))


@pytest.mark.skipif(not COCO_MINI.is_file(), reason="shared/coco-mini is not here")
def test_the_bundled_weights_on_coco_mini(bundled: MaskRCNN, images_with_labels: LabeledDataset, tmp_path: Path) -> None:
    few = replace(images_with_labels, images=images_with_labels.images[:16])
    evaluation = run_to_end(evaluate(bundled, few))
    assert evaluation.class_names == ("person",)
    assert "bench" in evaluation.not_measured
    matches = evaluation.main.matches
    assert sum(match["true_positives"] + match["false_negatives"] for match in matches) == evaluation.objects
    write_report(evaluation, tmp_path, worst=3)
    assert len(list((tmp_path / "worst").glob("*.jpg"))) == min(3, len(evaluation.worst(3)))
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["masks"]["numbers"] == dict(evaluation.main.numbers)
    assert (tmp_path / "precision-recall.png").stat().st_size > 5000


@pytest.mark.skipif(not COCO_MINI.is_file(), reason="shared/coco-mini is not here")
def test_coco_there_and_back(images_with_labels: LabeledDataset, tmp_path: Path) -> None:
    write_coco(tmp_path / "labels.json", images_with_labels)
    again = read_coco(tmp_path / "labels.json", COCO_MINI.parent / "images")
    assert again.class_names == images_with_labels.class_names
    for one, other in zip(again, images_with_labels):
        mine, theirs = one.instances, other.instances
        assert mine.names == theirs.names
        assert all((a == b).all() for a, b in zip(mine.frames(), theirs.frames()))
    crowds = usable(images_with_labels, images_with_labels.class_names).reasons().get("a crowd, not an object", 0)
    assert crowds > 0


def test_nothing_to_measure(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    size = astronaut.shape[:2]
    zebra = Instances(size, [[0, 0, 9, 9]], [1], ("__background__", "zebra"), [None])
    with pytest.raises(DataError, match=r"nothing to measure.*zebra"):
        run_to_end(evaluate(bundled, labeled_images([(astronaut, zebra)])))


def test_boxes_without_masks_are_measured_as_boxes(bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    person = Instances(astronaut.shape[:2], [[0, 0, 400, 500]], [1], bundled.class_names, [None])
    evaluation = run_to_end(evaluate(bundled, labeled_images([(astronaut, person)])))
    assert list(evaluation.scores) == ["boxes"]
