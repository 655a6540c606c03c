"""The parameters of ``finetune``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from maskbridge.adapter.settings import FloatPrecision
from maskbridge.adapter.training.settings import (
    VALIDATION_FRACTION,
    BatchSize,
    Epochs,
    LearningRate,
    TrainingSettings,
    ValidationFraction,
)
from maskbridge.plugin.requests.base import RunRequest

_DEFAULTS = TrainingSettings()


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[\w-][\w.-]*|", name):
        raise ValueError(f"a name of letters, digits, dots, - and _, not {name!r}")
    return name


class FinetuneRequest(RunRequest):
    """A run of ``finetune``.

    Attributes:
        label_field: the labels to train on: detections with masks, or polylines.
        weights: the weights to start from.
        precision: of the training run: ``"float32"``, ``"bfloat16"`` or, on a GPU, ``"float16"``.
        name: the name of the new weights, which appear in the list of ``segment_instances``; the same name resumes an
            interrupted run. By default dataset, field and time.
        classes: names of the classes that the new weights detect; None for all labels of the field.
        epochs: passes over all images.
        batch_size: images in a step.
        learning_rate: AdamW's.
        validation: the fraction of the images used for validation, 0 to 0.9; chosen by the images' names.
    """

    precision: FloatPrecision = "float32"
    name: Annotated[str, AfterValidator(_file_name)] = ""
    classes: tuple[str, ...] | None = None
    epochs: Epochs = _DEFAULTS.epochs
    batch_size: BatchSize = _DEFAULTS.batch_size
    learning_rate: LearningRate = _DEFAULTS.learning_rate
    validation: ValidationFraction = VALIDATION_FRACTION
