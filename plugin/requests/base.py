"""The parameters that all runs share, in the App's form, delegated and from a script alike. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.validation import Validated

if TYPE_CHECKING:
    from typing_extensions import Self


class RunRequest(Validated):
    """A run over a dataset or view.

    Attributes:
        label_field: the field of the labels.
        weights: for `maskbridge.adapter.MaskRCNN`.
        device: such as ``"cpu"``; None for a GPU where there is one.
        engine: ``"torch"``, ``"openvino"``, ``"onnxruntime"`` or ``"auto"`` (see docs/engines.md).
        precision: ``"auto"`` is int8 for weights that ``maskbridge quantize`` wrote, else float32; or one of ``"int8"``,
            ``"float32"`` and, faster and less exact, ``"bfloat16"`` and, on a GPU, ``"float16"``.
        streams: how many images are predicted at once on a CPU; 2 or more are faster with small networks.

    Raises:
        SettingsError: a name is unknown or a value is invalid.
    """

    label_field: str
    weights: str = "DEFAULT"
    device: str | None = None
    engine: EngineName = "torch"
    precision: Precision = "auto"
    streams: Annotated[int, Field(ge=1, le=64)] = 1

    @property
    def written_field(self) -> str:
        """The field that the run writes or, where it writes none, reads."""
        return self.label_field

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """From a script's keyword arguments; those that are None or empty have their defaults.

        Raises:
            SettingsError: a name is unknown (the message names the most similar one) or a value is invalid.
        """
        values = {name: value for name, value in options.items() if value not in (None, "", [], ())}
        return cls(**values | ({"classes": tuple(values["classes"])} if "classes" in values else {}))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """From an operator's parameters, among which are some of FiftyOne's own; otherwise as `from_options`.

        Raises:
            SettingsError: a value is invalid.
        """
        return cls.from_options(**{name: params[name] for name in cls.model_fields if name in params})

    @classmethod
    def problems_of(cls, params: Mapping[str, Any]) -> dict[str, str]:
        """The problems of an operator's parameters, by name; empty if all are valid."""
        try:
            cls.from_params(params)
        except SettingsError as error:
            return error.problems
        return {}

    def to_dict(self) -> dict[str, Any]:
        """As a dict that JSON can hold; `from_params` is the inverse."""
        return self.model_dump(mode="json")


def _field_name(name: str) -> str:
    """FiftyOne's own rule, without the dots of embedded fields."""
    if not name.strip() or name.startswith("_") or any(character in ".$\0" for character in name):
        raise ValueError(f"a field name without dots and dollar signs that does not start with an underscore, not {name!r}")
    return name


FieldName = Annotated[str, AfterValidator(_field_name)]
"""The name of a new field."""
