"""What all control tags that get results have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from maskbridge.adapter.instances import Instances

Region: TypeAlias = "dict[str, Any]"
"""One entry of ``result`` in Label Studio's predictions and annotations, ready for JSON."""


@dataclass(frozen=True)
class FilledTag(ABC):
    """A control tag of a label config that gets results, on one image tag.

    Attributes:
        from_name: the control tag's name.
        to_name: the image tag's name.
        labels: the label or choice for each class name of the model; instances of other classes get no results.
        threshold: instances get results if their score is above it, 0 to 1.
        class_thresholds: pairs of class name and threshold, for classes that have another.
    """

    from_name: str
    to_name: str
    labels: Mapping[str, str]
    threshold: float = 0.0
    class_thresholds: tuple[tuple[str, float], ...] = ()

    kind: ClassVar[str]
    """The tag's name in a label config."""
    needs_masks: ClassVar[bool]

    def threshold_of(self, class_name: str) -> float:
        """The threshold of a class of the model."""
        return dict(self.class_thresholds).get(class_name, self.threshold)

    @abstractmethod
    def encode(self, instances: Instances) -> list[Region]:
        """The results of an image's instances."""
