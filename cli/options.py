"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

Weights = Annotated[
    str, typer.Option(help="bundled, COCO_V1, a .safetensors or .pth file, or https://…#sha256=…", show_default=True)
]
Builder = Annotated[str | None, typer.Option(help="The network's builder, if the weights do not name it.")]
Confidence = Annotated[float, typer.Option(min=0, max=1, help="Objects with a score above it are detected.")]
MaskThreshold = Annotated[float, typer.Option(min=0, max=1, help="Pixels of at least this probability are in a mask.")]
Classes = Annotated[str | None, typer.Option(help="Names of the classes, separated by commas; by default all.")]
Precision = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(help="Lower ones are faster on a GPU and less exact; float16 needs one."),
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
