"""COCO's scores, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskbridge.adapter.datasets.labeled_dataset import is_crowd
from maskbridge.adapter.instances import BACKGROUND, Instances

Kind = Literal["boxes", "masks"]

NUMBERS = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
"""COCO's twelve numbers, in its order: average precision and recall over IoU 0.50 to 0.95, at 0.50, at 0.75, by the
objects' area, and by the number of detections in an image."""


@dataclass(frozen=True)
class Scores:
    """COCO's scores of boxes or of masks.

    Attributes:
        numbers: `NUMBERS` with their values, 0 to 1; -1 where there is nothing to measure (COCO's rule).
        per_class: for each class its ``AP``, ``AP50`` and the number of its ``objects``.
        curves: for each class the precision at 101 recalls from 0 to 1, at IoU 0.50.
        matches: for each image its true positives, false negatives and false positives at IoU 0.50.
    """

    numbers: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, np.ndarray] = field(repr=False)
    matches: Sequence[Mapping[str, int]] = field(repr=False)


class Evaluator:
    """Collects images with their labels and predictions; `scores` measures. Masks are stored as RLE.

    Args:
        class_names: the classes to measure, with or without the background. Other labels and detections do not count.
        confidence_threshold: predictions with a lower score do not count in ``matches``.

    Example:
        >>> from maskbridge.adapter.masks import MaskCrop
        >>> crop = MaskCrop(0, 0, np.ones((4, 4), dtype=bool))
        >>> cat = Instances((9, 9), [[0, 0, 4, 4]], [1], ("__background__", "cat"), [crop])
        >>> evaluator = Evaluator(["cat"])
        >>> evaluator.add(cat, Instances((9, 9), cat.boxes, [1], cat.class_names, [crop], scores=[0.9]))
        >>> round(evaluator.scores("masks").numbers["AP"], 3)
        1.0
    """

    def __init__(self, class_names: Sequence[str], *, confidence_threshold: float = 0.5) -> None:
        self.class_names = tuple(name for name in class_names if name != BACKGROUND)
        self.confidence_threshold = confidence_threshold
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Images."""
        return len(self._images)

    def add(self, truth: Instances, predictions: Instances) -> None:
        """Adds an image: its labels (crowds marked by the attribute ``iscrowd``) and its predictions (with scores)."""
        number = len(self._images) + 1
        self._images.append({"id": number, "height": truth.size[0], "width": truth.size[1]})
        crowds = [is_crowd(a) for a in truth.attributes] if truth.attributes else [False] * len(truth)
        for annotation, name, crowd in zip(truth.to_coco(number), truth.names, crowds):
            if name in self.class_names:
                _, _, width, height = annotation["bbox"]
                area = annotation.get("area", self._mask_area(annotation, width * height))
                fields = {
                    "id": len(self._truth) + 1,
                    "category_id": self._category_id(name),
                    "iscrowd": int(crowd),
                    "area": area,
                }
                self._truth.append(annotation | fields)
        for result, name in zip(predictions.to_coco(number), predictions.names):
            if name in self.class_names:
                self._predictions.append(
                    {k: v for k, v in result.items() if k in _RESULT} | {"category_id": self._category_id(name)}
                )

    def scores(self, kind: Kind) -> Scores:
        """Measures all images added so far. Masks are measured among objects that have one.

        Masks are small, medium or large by their own area, as COCO's server does. pycocotools' ``loadRes`` takes the
        box's where a result has both.
        """
        key = "bbox" if kind == "boxes" else "segm"
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            evaluation = COCOeval(self._coco(self._truth, kind), self._results(kind), key)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = dict(zip(NUMBERS, map(float, evaluation.stats)))
        precision = evaluation.eval["precision"]  # [IoU, recall, class, area, detections]
        counts = dict.fromkeys(self.class_names, 0)
        for annotation in self._truth:
            counts[self.class_names[annotation["category_id"] - 1]] += not annotation["iscrowd"]
        per_class = {
            name: {
                "AP": _mean(precision[:, :, index, 0, 2]),
                "AP50": _mean(precision[0, :, index, 0, 2]),
                "objects": counts[name],
                **self._best_f1(evaluation, index),
            }
            for index, name in enumerate(self.class_names)
        }
        curves = {name: precision[0, :, index, 0, 2] for index, name in enumerate(self.class_names) if counts[name]}
        return Scores(stats, per_class, curves, self._matches(evaluation))

    def _coco(self, annotations: Iterable[Mapping[str, Any]], kind: Kind) -> COCO:
        coco = COCO()
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names, start=1)]
        rows = [dict(a) for a in annotations if kind == "boxes" or "segmentation" in a]
        coco.dataset = {"images": self._images, "annotations": rows, "categories": categories}
        coco.createIndex()
        return coco

    def _results(self, kind: Kind) -> COCO:
        """The predictions, as COCO's ``loadRes`` makes them (which requires at least one)."""
        from pycocotools import mask as coco_mask

        results = []
        for number, result in enumerate(self._predictions, start=1):
            if kind == "boxes":
                area = result["bbox"][2] * result["bbox"][3]
            elif "segmentation" in result:
                area = float(coco_mask.area(result["segmentation"]))
            else:
                continue
            results.append(result | {"id": number, "iscrowd": 0, "area": area})
        return self._coco(results, kind)

    def _matches(self, evaluation: COCOeval) -> list[dict[str, int]]:
        counts = [{"true_positives": 0, "false_negatives": 0, "false_positives": 0} for _ in self._images]
        all_areas = list(evaluation.params.areaRng[0])
        for image in evaluation.evalImgs:
            if image is None or list(image["aRng"]) != all_areas:
                continue
            count = counts[image["image_id"] - 1]
            counted = ~np.asarray(image["gtIgnore"], dtype=bool)
            confident = np.asarray(image["dtScores"]) >= self.confidence_threshold
            matched = np.asarray(image["dtMatches"])[0] > 0
            ignored = np.asarray(image["dtIgnore"], dtype=bool)[0]
            hit = set(np.asarray(image["dtMatches"])[0][confident & matched & ~ignored].astype(int).tolist())
            count["true_positives"] += len(hit)
            count["false_negatives"] += int(counted.sum()) - len(hit)
            count["false_positives"] += int((confident & ~matched & ~ignored).sum())
        return counts

    def _best_f1(self, evaluation: COCOeval, category: int) -> dict[str, float]:
        """The highest F1 of a class at IoU 0.50, and a confidence threshold that gives it; -1 without objects."""
        images = [
            image
            for image in evaluation.evalImgs
            if image is not None
            and image["category_id"] == category + 1
            and list(image["aRng"]) == list(evaluation.params.areaRng[0])
        ]
        objects = sum(int((~np.asarray(image["gtIgnore"], dtype=bool)).sum()) for image in images)
        scores = np.concatenate([np.zeros(0), *(np.asarray(image["dtScores"]) for image in images)])
        hit = np.concatenate([np.zeros(0, bool), *(np.asarray(image["dtMatches"])[0] > 0 for image in images)])
        ignored = np.concatenate([np.zeros(0, bool), *(np.asarray(i["dtIgnore"], bool)[0] for i in images)])
        return best_f1(scores[~ignored], hit[~ignored], objects)

    def _category_id(self, name: str) -> int:
        return self.class_names.index(name) + 1

    @staticmethod
    def _mask_area(annotation: Mapping[str, Any], of_box: float) -> float:
        from pycocotools import mask as coco_mask

        return float(coco_mask.area(annotation["segmentation"])) if "segmentation" in annotation else of_box


def best_f1(scores: np.ndarray, is_match: np.ndarray, objects: int) -> dict[str, float]:
    """The highest F1 that a confidence threshold gives, and such a threshold: halfway to the next lower score.

    Args:
        scores: [N], of the detections.
        is_match: bool [N], whether a detection matches an object.
        objects: the number of objects.

    Returns:
        ``best_f1`` and ``best_confidence``; both -1 without objects.

    Example:
        >>> best_f1(np.array([0.9, 0.8, 0.3]), np.array([True, True, False]), 2)
        {'best_f1': 1.0, 'best_confidence': 0.55}
    """
    if not objects:
        return {"best_f1": -1.0, "best_confidence": -1.0}
    order = np.argsort(-scores, kind="stable")
    scores, matches = scores[order], np.cumsum(is_match[order])
    lower = np.append(scores[1:], 0.0)
    f1 = np.where(
        lower < scores, 2 * matches / (np.arange(1, len(scores) + 1) + objects), 0.0
    )  # equal scores stay together
    if not len(scores) or not f1.max() > 0:
        return {"best_f1": 0.0, "best_confidence": -1.0}
    best = int(f1.argmax())
    high, low = float(scores[best]), float(lower[best])
    middle = (high + low) / 2
    rounded = (round(middle, digits) for digits in (2, 3, 4, 5))
    return {"best_f1": float(f1[best]), "best_confidence": next((v for v in rounded if low <= v < high), middle)}


_RESULT = ("image_id", "category_id", "bbox", "score", "segmentation")


def _mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else -1.0
