"""``maskbridge demo``: a FiftyOne dataset with instance masks, for a first try."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images and results.")] = Path("maskbridge-demo"),
    launch: Annotated[bool, typer.Option("--launch", help="Open the FiftyOne App when done.")] = False,
) -> None:
    """Make the FiftyOne dataset "maskbridge-demo" from a few images, detect objects in them, draw them."""
    from maskbridge.cli.demo_run import run

    run(out, launch=launch)
