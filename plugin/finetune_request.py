"""What a training from FiftyOne is asked to do. Imports no torch: the App's form is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskbridge.adapter.errors import SettingsError
from maskbridge.plugin.requests import check_names, fraction_problem, whole_number_problem


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """A run of ``finetune``.

    Attributes:
        label_field: the labels to learn from: detections with masks, or polylines.
        name: of the new weights, which appear in the list of ``segment_instances``; the same name goes on where an
            interrupted run stopped. By default dataset, field and time.
        weights: where to start.
        classes: what the new weights find; None for all labels of the field.
        epochs: how often all photos are seen.
        batch_size: photos in a step.
        learning_rate: AdamW's.
        validation: the part of the photos that is kept to measure with, 0 to 0.9; chosen by the photos' names.
        device: such as ``"cpu"``; None for a GPU where there is one.
    """

    label_field: str
    name: str = ""
    weights: str = "DEFAULT"
    classes: tuple[str, ...] | None = None
    epochs: int = 10
    batch_size: int = 2
    learning_rate: float = 1e-4
    validation: float = 0.1
    device: str | None = None

    @classmethod
    def from_options(cls, **options: Any) -> FinetuneRequest:
        """From keyword arguments; None and empty ones have their defaults.

        Raises:
            SettingsError: an option has a wrong name or value.
        """
        check_names(cls, options)
        request = cls(**cls._given(options))
        for name, problem in request.problems().items():
            raise SettingsError(f"{name}: {problem}")
        return request

    @classmethod
    def _given(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value not in (None, "", [], ())}
        given.setdefault("label_field", "")
        if "classes" in given:
            given["classes"] = tuple(given["classes"])
        return given

    @classmethod
    def problems_of(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with which of an operator's parameters; unknown ones are left out."""
        known = {name: value for name, value in options.items() if name in cls.__dataclass_fields__}
        return cls(**cls._given(known)).problems()

    def problems(self) -> dict[str, str]:
        """What is wrong with which value; empty if nothing is."""
        rate_is_good = isinstance(self.learning_rate, (int, float)) and 0 < self.learning_rate <= 1
        found = {
            "label_field": None if self.label_field else "the field with the labels is needed",
            "name": None if re.fullmatch(r"[\w-][\w.-]*|", self.name) else "letters, digits, dots, - and _",
            "epochs": whole_number_problem(self.epochs, 1, 10_000),
            "batch_size": whole_number_problem(self.batch_size, 1, 256),
            "learning_rate": None if rate_is_good else f"a number above 0, at most 1, not {self.learning_rate!r}",
            "validation": fraction_problem(self.validation),
        }
        return {name: problem for name, problem in found.items() if problem is not None}
