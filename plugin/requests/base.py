"""What all runs are asked: the same for the App's form, a delegated run and a call from a script. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from maskbridge.adapter.errors import SettingsError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A run over a dataset or view.

    Attributes:
        label_field: the field of the labels.
        weights: for `maskbridge.adapter.MaskRCNN`.
        device: such as ``"cpu"``; None for a GPU where there is one.
    """

    label_field: str = ""
    weights: str = "DEFAULT"
    device: str | None = None

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
        request = cls(**cls._given(params))
        for name, problem in request.problems().items():
            raise SettingsError(f"{name}: {problem}")
        return request

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """From keyword arguments; unlike in `from_params` an unknown name is an error, which names the nearest."""
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                raise SettingsError(f"unknown option {name!r}: {nearest(name, names, show=len(names))}")
        return cls.from_params(options)

    @classmethod
    def problems_of(cls, params: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with which of an operator's parameters."""
        return cls(**cls._given(params)).problems()

    @classmethod
    def _given(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        names = [field.name for field in fields(cls)]
        given = {name: params[name] for name in names if params.get(name) not in (None, "", [], ())}
        return given | ({"classes": tuple(given["classes"])} if "classes" in given else {})

    def problems(self) -> dict[str, str]:
        """What is wrong with which value; empty if nothing is."""
        return {name: problem for name, problem in self._checks().items() if problem}

    def _checks(self) -> dict[str, str | None]:
        """For each value that is checked what is wrong with it, None if nothing is."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it; `from_params` is the inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def fraction_problem(value: object, *, maximum: float = 1) -> str | None:
    """What is wrong with a number that should be from 0 to ``maximum``, None if nothing is."""
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= maximum
    return None if valid else f"a number from 0 to {maximum:g}, not {value!r}"


def whole_number_problem(value: object, minimum: int, maximum: int) -> str | None:
    """What is wrong with a number that should be whole (1.0 is, as the App sends it) and in a range."""
    valid = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value // 1
        and minimum <= value <= maximum
    )
    return None if valid else f"a whole number from {minimum} to {maximum}, not {value!r}"


def field_name_problem(name: object) -> str | None:
    """What is wrong with the name of a field that may be made."""
    valid = isinstance(name, str) and name.replace("_", "a").isalnum() and name[0].isalpha()
    return None if valid else f"{name!r} is not a field name: letters, digits and underscores"


def choice_problem(value: object, allowed: tuple[str, ...]) -> str | None:
    """What is wrong with a value that should be one of a few, None if nothing is."""
    return None if value in allowed else f"unknown: {nearest(str(value), allowed)}"
