"""The results of ``maskbridge predict`` as a table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.cli.image_files import ImageFile
from maskbridge.cli.prediction_run import RESULTS, PredictionRun

MAX_ROWS = 40


def describe_counts(counts: Mapping[str, int]) -> str:
    """The objects of an image in words, the most frequent first.

    Example:
        >>> describe_counts({"dog": 1, "person": 2}), describe_counts({})
        ('2 person, 1 dog', 'nothing')
    """
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "nothing"


def print_report(run: PredictionRun, images: list[ImageFile], failures: Mapping[str, str]) -> None:
    """Prints the objects of each image, the failures with their reasons, and the folder of the results."""
    table, console = Table("image", "objects"), Console()
    for image in images[:MAX_ROWS]:
        counts = run.entries[image.name].get("counts", {})
        failed = run.entries[image.name].get("failed")
        table.add_row(escape(image.name), f"[red]{escape(failed)}[/red]" if failed else escape(describe_counts(counts)))
    console.print(table)
    if len(images) > MAX_ROWS:
        console.print(f"… and {len(images) - MAX_ROWS} more images")
    objects = sum(sum(entry.get("counts", {}).values()) for entry in run.entries.values())
    console.print(
        f"{len(images) - len(run.failures(images))} images, {objects} objects: "
        f"annotated images and {RESULTS} are in {run.out}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for name, reason in failures.items():
        Console(stderr=True).print(f"failed: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
