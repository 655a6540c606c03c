"""Choices: which classes an image has."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from maskbridge.adapter.instances import Instances
from maskbridge.labelstudio.tags.filled_tag import FilledTag, Region


@dataclass(frozen=True)
class Choices(FilledTag):
    """``<Choices>`` for a whole image, whose values are class names: those present above the threshold are chosen.

    Attributes:
        multiple: whether several may be chosen; else the one with the highest score is.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> choices = Choices("has", "image", {"cat": "Cat", "dog": "Dog"}, threshold=0.5)
        >>> names, boxes = ("__background__", "cat", "dog"), [[0, 0, 5, 5]] * 2
        >>> animals = Instances((9, 9), boxes, [1, 2], names, [None] * 2, [0.7, 0.9])
        >>> choices.encode(animals)[0]["value"]
        {'choices': ['Dog']}
    """

    multiple: bool = False

    kind: ClassVar[str] = "Choices"
    needs_masks: ClassVar[bool] = False

    def encode(self, instances: Instances) -> list[Region]:
        """One result with the chosen values, and the highest score among them; none if nothing is present."""
        scores: dict[str, float] = {}
        for name, score in zip(instances.names, instances.scores if instances.scores is not None else []):
            if name in self.labels and score > self.threshold_of(name):
                scores[self.labels[name]] = max(float(score), scores.get(self.labels[name], 0.0))
        chosen = sorted(scores, key=lambda choice: -scores[choice])[: None if self.multiple else 1]
        if not chosen:
            return []
        ids = {"id": uuid.uuid4().hex[:10], "from_name": self.from_name, "to_name": self.to_name, "type": "choices"}
        return [{**ids, "value": {"choices": chosen}, "score": scores[chosen[0]]}]
