"""The parameters of ``finetune``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskbridge.plugin.requests.base import RunRequest, fraction_problem, whole_number_problem


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest(RunRequest):
    """A run of ``finetune``.

    Attributes:
        label_field: the labels to train on: detections with masks, or polylines.
        weights: the weights to start from.
        name: the name of the new weights, which appear in the list of ``segment_instances``; the same name resumes an
            interrupted run. By default dataset, field and time.
        classes: names of the classes that the new weights detect; None for all labels of the field.
        epochs: passes over all images.
        batch_size: images in a step.
        learning_rate: AdamW's.
        validation: the fraction of the images used for validation, 0 to 0.9; chosen by the images' names.
    """

    name: str = ""
    classes: tuple[str, ...] | None = None
    epochs: int = 10
    batch_size: int = 2
    learning_rate: float = 1e-4
    validation: float = 0.1

    def _checks(self) -> dict[str, str | None]:
        valid_rate = isinstance(self.learning_rate, (int, float)) and 0 < self.learning_rate <= 1
        return {
            "label_field": None if self.label_field else "the field with the labels is needed",
            "name": None if re.fullmatch(r"[\w-][\w.-]*|", self.name) else "letters, digits, dots, - and _",
            "epochs": whole_number_problem(self.epochs, 1, 10_000),
            "batch_size": whole_number_problem(self.batch_size, 1, 256),
            "learning_rate": None if valid_rate else f"a number above 0, at most 1, not {self.learning_rate!r}",
            "validation": fraction_problem(self.validation, maximum=0.9),
        }
