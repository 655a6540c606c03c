"""The parameters that all runs share, in the App's form, delegated and from a script alike. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from maskbridge.adapter.errors import SettingsError, nearest
from maskbridge.adapter.settings import Precision

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run over a dataset or view.

    Attributes:
        label_field: the field of the labels.
        weights: for `maskbridge.adapter.MaskRCNN`.
        device: such as ``"cpu"``; None for a GPU where there is one.
        precision: ``"float32"``, ``"bfloat16"`` or, on a GPU, ``"float16"``: faster, less exact arithmetic.
    """

    label_field: str = ""
    weights: str = "DEFAULT"
    device: str | None = None
    precision: Precision = "float32"

    @property
    def written_field(self) -> str:
        """The field that the run writes or, where it writes none, reads."""
        return self.label_field

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """From an operator's parameters; those that are missing, None or empty have their defaults.

        Raises:
            SettingsError: a value is out of range or of a wrong type.
        """
        request = cls(**cls._values(params))
        for name, problem in request.problems().items():
            raise SettingsError(f"{name}: {problem}")
        return request

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """From keyword arguments; unlike in `from_params`, an unknown name is an error that names the most similar one."""
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                raise SettingsError(f"unknown option {name!r}: {nearest(name, names, show=len(names))}")
        return cls.from_params(options)

    @classmethod
    def problems_of(cls, params: Mapping[str, Any]) -> dict[str, str]:
        """The problems of an operator's parameters, by name; empty if all are valid."""
        return cls(**cls._values(params)).problems()

    @classmethod
    def _values(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        names = [field.name for field in fields(cls)]
        values = {name: params[name] for name in names if params.get(name) not in (None, "", [], ())}
        return values | ({"classes": tuple(values["classes"])} if "classes" in values else {})

    def problems(self) -> dict[str, str]:
        """The problems of the values, by name; empty if all are valid."""
        checks = {"precision": choice_problem(self.precision, get_args(Precision)), **self._checks()}
        return {name: problem for name, problem in checks.items() if problem}

    def _checks(self) -> dict[str, str | None]:
        """The problem of each checked value, by name; None if the value is valid."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """As a dict that JSON can hold; `from_params` is the inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def fraction_problem(value: object, *, maximum: float = 1) -> str | None:
    """A message if the value is not a number from 0 to ``maximum``, else None."""
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= maximum
    return None if valid else f"a number from 0 to {maximum:g}, not {value!r}"


def whole_number_problem(value: object, minimum: int, maximum: int) -> str | None:
    """A message if the value is not a whole number in a range (1.0 is one, since the App sends it so), else None."""
    valid = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value // 1
        and minimum <= value <= maximum
    )
    return None if valid else f"a whole number from {minimum} to {maximum}, not {value!r}"


def field_name_problem(name: object) -> str | None:
    """A message if the value is not a valid name of a new field, else None."""
    valid = isinstance(name, str) and name.replace("_", "a").isalnum() and name[0].isalpha()
    return None if valid else f"{name!r} is not a field name: letters, digits and underscores"


def choice_problem(value: object, allowed: tuple[str, ...]) -> str | None:
    """A message if the value is not one of those allowed, else None."""
    return None if value in allowed else f"unknown: {nearest(str(value), allowed)}"
