"""Validation of settings and requests with pydantic: a `SettingsError` names the invalid value and the allowed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from maskbridge.adapter.errors import SettingsError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInteger = Annotated[int, Field(ge=1)]


class Validated(BaseModel):
    """Base of settings and requests: immutable, with keyword arguments only and without conversions from other types.

    Raises:
        SettingsError: a name is unknown or a value is invalid; its ``problems`` has a message for each name.

    Example:
        >>> class Settings(Validated):
        ...     epochs: Annotated[int, Field(ge=1, le=1000)] = 10
        >>> Settings(epochs=0)
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: epochs is a whole number from 1 to 1,000, not 0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    if not TYPE_CHECKING:  # type checkers know the keyword arguments from the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise settings_error(problems_of(error, type(self))) from None

    @field_validator("*", mode="before")
    @classmethod
    def _whole_float(cls, value: Any) -> Any:
        """1.0 is a whole number: JSON has one kind of number, and FiftyOne's App sends it so."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, validated.

        Raises:
            SettingsError: a name is unknown or a value is invalid.
        """
        return type(self)(**{**dict(self), **changes})


def validate(name: str, value: Any, adapter: TypeAdapter[Any]) -> Any:
    """Validates one value, without conversions from other types.

    Raises:
        SettingsError: the value is invalid.

    Example:
        >>> validate("score_thresh", 0.5, TypeAdapter(Fraction))
        0.5
    """
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        raise settings_error({name: f"{_description(adapter.json_schema())}, not {value!r}"}) from None


def problems_of(error: ValidationError, model: type[BaseModel]) -> dict[str, str]:
    """A problem in plain words for each invalid field of a model, such as ``"a number from 0 to 1, not 7"``.

    The value of a secret is not repeated.
    """
    problems: dict[str, str] = {}
    for details in error.errors(include_url=False):
        name, value = str(next(iter(details["loc"]), "")), details["input"]
        if details["type"] == "extra_forbidden":
            problem = f"unknown: {nearest(name, model.model_fields, show=len(model.model_fields))}"
        elif details["type"] == "value_error":  # raised by a validator of ours
            problem = str(details["ctx"]["error"])
        else:
            described = _description(model.model_json_schema()["properties"].get(name, {}))
            is_missing = details["type"] == "missing" and len(details["loc"]) == 1
            problem = "needed" if is_missing else f"{described}, not {value!r}"
        problems.setdefault(name, problem)
    return problems


def settings_error(problems: Mapping[str, str]) -> SettingsError:
    """The error for problems by name."""
    texts = [f"{name} is {problem}" if name else problem for name, problem in problems.items()]
    return SettingsError("; ".join(texts), problems=problems)


def _description(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words; ``allowed`` in the schema replaces them."""
    if "allowed" in schema:
        return str(schema["allowed"])
    if "anyOf" in schema:
        return ", or ".join(_description(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "multipleOf" in schema:
        return f"a multiple of {schema['multipleOf']}"
    text = _TYPES.get(schema.get("type", ""), "of another type")
    minimum, above, maximum = (
        None if bound is None else f"{bound:,}".removesuffix(".0")
        for bound in map(schema.get, ("minimum", "exclusiveMinimum", "maximum"))
    )
    if above is not None:
        return f"{text} above {above}" + ("" if maximum is None else f", at most {maximum}")
    if minimum is not None:
        return f"{text} of {minimum} or more" if maximum is None else f"{text} from {minimum} to {maximum}"
    return text


_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
