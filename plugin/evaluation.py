"""Evaluates the predictions in a field of a FiftyOne dataset: COCO metrics, and FiftyOne's own evaluation."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import fiftyone as fo

from maskbridge.adapter import Instances
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset
from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.evaluation.measure import Evaluation, measure
from maskbridge.plugin.datasets import open_dataset
from maskbridge.plugin.labels import from_detections

logger = logging.getLogger(__name__)


def of_field(
    dataset_name: str,
    field: str,
    predictions: str,
    labels: LabeledDataset,
    *,
    split: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Generator[int, None, Evaluation]:
    """Evaluates a field of predictions against a field of labels; iterates like `maskbridge.adapter.evaluation.measure`.

    By default all classes of the labels are evaluated, also those without predictions. FiftyOne's own evaluation is run
    too, under the key ``maskbridge_<predictions>``: its panel shows it, and samples and labels get their matches. Its box
    mAP equals COCO's; it estimates the size of masks, so its mask mAP differs a little.

    Raises:
        SettingsError: a field is missing or holds no detections.
    """
    dataset = open_dataset(dataset_name)
    view = dataset.view() if split is None else dataset.match_tags(split)
    for name in (field, predictions):
        if getattr(dataset.get_field(name), "document_type", None) is not fo.Detections:
            raise SettingsError(f"the field {name!r} of {dataset_name!r} is missing or holds no detections")
    predicted = list(_predictions(view, predictions, labels))
    evaluation = yield from measure(labels, predicted, labels.class_names if class_names is None else class_names)
    options = {
        "gt_field": field,
        "eval_key": evaluation_key(predictions),
        "method": "coco",
        "classes": list(evaluation.class_names),
        "compute_mAP": True,
        "progress": False,
    }
    try:
        view.evaluate_detections(predictions, use_masks="masks" in evaluation.scores, **options)
    except (ValueError, IndexError) as error:  # raised by its mask IoU if a box reaches outside of its image
        logger.warning(
            "FiftyOne cannot measure the masks of %r (%s: a box outside of its image?): its panel shows boxes",
            predictions,
            error,
        )
        view.evaluate_detections(predictions, use_masks=False, **options)
    return evaluation


def evaluation_key(predictions: str) -> str:
    """The key under which FiftyOne stores the evaluation of a field.

    Example:
        >>> evaluation_key("instances")
        'maskbridge_instances'
    """
    return "maskbridge_" + re.sub(r"\W", "_", predictions)


def _predictions(view: Any, predictions: str, labels: LabeledDataset) -> Iterator[Instances]:
    by_path = dict(zip(*view.values(["filepath", predictions])))
    for image in labels:
        instances = from_detections(by_path.get(str(image.image)), image.size)
        if len(instances) and instances.scores is None:
            raise SettingsError(f"{image.name}: predictions in {predictions!r} have no confidence")
        yield instances
