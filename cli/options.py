"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Weights = Annotated[
    str, typer.Option(help="bundled, COCO_V1, a .safetensors or .pth file, or https://…#sha256=…", show_default=True)
]
Builder = Annotated[str | None, typer.Option(help="The network, where the weights do not say it.")]
Confidence = Annotated[float, typer.Option(min=0, max=1, help="Objects with a score above it are found.")]
MaskThreshold = Annotated[float, typer.Option(min=0, max=1, help="Pixels of at least this probability are in a mask.")]
Classes = Annotated[str | None, typer.Option(help="Names to look for, separated by commas; all by default.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; a GPU where there is one by default.")]


def names(classes: str | None) -> list[str] | None:
    """``"a,b"`` as a list; None for all."""
    return None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
