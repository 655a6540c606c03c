"""``maskbridge demo``: a FiftyOne dataset with instance masks, on a machine that has nothing yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the images and pictures.")] = Path("maskbridge-demo"),
    launch: Annotated[bool, typer.Option("--launch", help="Open the FiftyOne App when done.")] = False,
) -> None:
    """Make the FiftyOne dataset "maskbridge-demo" from a few images, detect objects in them, draw them."""
    from maskbridge.cli.demo_run import run

    run(out, launch=launch)
