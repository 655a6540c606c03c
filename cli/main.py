"""The command line: ``maskbridge``. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import maskbridge
from maskbridge.cli import check, demo, evaluate, export, predict, quantize, serve, train

app = typer.Typer(
    name="maskbridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("predict")(predict.predict)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("quantize")(quantize.quantize)
app.command("export")(export.export)
app.command("serve")(serve.serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"maskbridge {maskbridge.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """torchvision's Mask R-CNN for FiftyOne and Label Studio."""


def run() -> None:
    """Runs a command; errors that a user can cause are one line on standard error, without a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a read-only folder, …
        if isinstance(error, BrokenPipeError):  # the reader of our output ended
            sys.exit(1)
        file = f"{error.filename}: " if error.filename else ""
        print(f"maskbridge: {file}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        # By name: importing the adapter here would add the seconds that torch takes to every --help.
        if not any(base.__name__ == "MaskbridgeError" for base in type(error).__mro__):
            raise
        print(f"maskbridge: {error}", file=sys.stderr)
        sys.exit(1)
