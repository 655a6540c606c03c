"""Confidence thresholds: one for all classes, or one for each of some. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import TypeAdapter

from maskbridge.adapter.errors import SettingsError, nearest
from maskbridge.adapter.validation import Fraction, validate

DEFAULT = 0.5
"""The threshold of commands, operators and servers where none is set."""


@dataclass(frozen=True)
class Confidence:
    """Objects are detected whose score is above the threshold of their class.

    Attributes:
        default: the threshold of classes that are not in ``by_class``, 0 to 1.
        by_class: pairs of class name and threshold.
    """

    default: float = DEFAULT
    by_class: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return ",".join([f"{self.default:g}", *(f"{name}={value:g}" for name, value in self.by_class)])

    def of_class(self, name: str) -> float:
        """The threshold of a class."""
        return dict(self.by_class).get(name, self.default)

    def check_classes(self, class_names: Iterable[str]) -> None:
        """Raises `SettingsError` if a class is not among these; the nearest is suggested."""
        allowed = list(class_names)
        for name, _ in self.by_class:
            if name not in allowed:
                raise SettingsError(f"confidence_threshold of an unknown class {name!r}: {nearest(name, allowed)}")


ConfidenceLike: TypeAlias = "float | str | Mapping[str, float] | Confidence"
"""What `confidence_of` takes: a number for all classes, ``"person=0.6,dog=0.4"`` or a mapping for some."""


def confidence_of(value: ConfidenceLike, *, default: float = DEFAULT) -> Confidence:
    """Thresholds from a number, from text, or from a mapping.

    Args:
        value: a number for all classes; text such as ``"person=0.6,dog=0.4"``, in which a number without a name is for
            all other classes; or a mapping from class names.
        default: for all other classes, if ``value`` has no number for them.

    Raises:
        SettingsError: a threshold is not a number from 0 to 1.

    Example:
        >>> confidence_of("0.3,person=0.6")
        Confidence(default=0.3, by_class=(('person', 0.6),))
        >>> confidence_of({"dog": 0.4}).of_class("cat")
        0.5
    """
    if isinstance(value, Confidence):
        return value
    if isinstance(value, Mapping):
        return Confidence(default, tuple((str(name), _checked(number)) for name, number in value.items()))
    if not isinstance(value, str):
        return Confidence(_checked(value))
    by_class: dict[str, float] = {}
    for part in value.split(","):
        name, _, number = part.rpartition("=")  # a class name may contain "="
        try:
            threshold = float(number)
        except ValueError:
            raise SettingsError(
                f"confidence_threshold is a number from 0 to 1, or one for each class (person=0.6,dog=0.4), not {value!r}"
            ) from None
        if not 0 <= threshold <= 1:
            raise SettingsError(f"confidence_threshold is a number from 0 to 1, not {number.strip()}")
        if name.strip():
            by_class[name.strip()] = threshold
        else:
            default = threshold
    return Confidence(default, tuple(by_class.items()))


_FRACTION: TypeAdapter[float] = TypeAdapter(Fraction)


def _checked(value: object) -> float:
    return float(validate("confidence_threshold", value, _FRACTION))
