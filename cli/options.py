"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from maskbridge.adapter.confidence import DEFAULT, Confidence, confidence_of
from maskbridge.adapter.errors import SettingsError

Weights = Annotated[
    str, typer.Option(help="bundled, COCO_V1, a file of safetensors or torch, or https://…#sha256=…", show_default=True)
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        metavar="A,B|FILE",
        help="Names of the weights' classes in their order, or a file with one in a line, if they have none.",
    ),
]
NormEps = Annotated[
    float | None, typer.Option(help="Epsilon of frozen norms in a .pth file: 0 if it was fine-tuned from COCO_V1.")
]
Builder = Annotated[str | None, typer.Option(help="The network's builder, if the weights do not name it.")]


def _confidence(text: str) -> Confidence:
    try:
        return confidence_of(text)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from None


CONFIDENCE = Confidence(DEFAULT)
ConfidenceOption = Annotated[
    Confidence,
    typer.Option(
        parser=_confidence,
        metavar="NUMBER|NAME=NUMBER,…",
        help="Objects with a score above it are detected, 0 to 1; or one for each class, as in person=0.6,dog=0.4.",
        show_default=str(DEFAULT),
    ),
]
MaskThreshold = Annotated[float, typer.Option(min=0, max=1, help="Pixels of at least this probability are in a mask.")]
Classes = Annotated[str | None, typer.Option(help="Names of the classes, separated by commas; by default all.")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "float16", "int8"],
    typer.Option(help="auto is int8 for weights of `maskbridge quantize`, else float32; float16 needs a GPU."),
]
TrainingPrecision = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(help="Lower ones are faster on a GPU and less exact; float16 needs one."),
]
Engine = Annotated[
    Literal["torch", "openvino", "onnxruntime", "auto"],
    typer.Option(help="What runs the network's layers: openvino is faster on a CPU; auto takes it where installed."),
]
Streams = Annotated[
    int, typer.Option(min=1, max=64, help="Images predicted at once on a CPU: 2 or more are faster with small networks.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; by default a GPU if there is one.")]


SKIPPED = 3
"""The exit code of a command that finished, but skipped an image or a label (0: complete, 1: error, 2: usage)."""


def option(field: FieldInfo) -> Any:
    """A command's option for a field of settings, with the field's bounds and description."""
    minimum: Any = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    maximum: Any = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    return typer.Option(min=minimum, max=maximum, help=field.description)


def names(classes: str | None) -> list[str] | None:
    """``"a,b"`` as a list; None for all.

    Example:
        >>> names("person, dog")
        ['person', 'dog']
    """
    return None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
