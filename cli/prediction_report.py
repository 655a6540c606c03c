"""The results of ``maskbridge predict`` as a table."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.cli.prediction_run import RESULTS, ImageFile, PredictionRun

MAX_ROWS = 40


def print_report(run: PredictionRun, images: list[ImageFile]) -> None:
    """Prints the objects of each image, the failures, and the folder of the results."""
    table, console = Table("image", "objects"), Console()
    for image in images[:MAX_ROWS]:
        counts = run.entries[image.name].get("counts", {})
        failed = run.entries[image.name].get("failed")
        names = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
        table.add_row(escape(image.name), f"[red]{escape(failed)}[/red]" if failed else escape(names) or "nothing")
    console.print(table)
    if len(images) > MAX_ROWS:
        console.print(f"… and {len(images) - MAX_ROWS} more images")
    failures = run.failures(images)
    console.print(
        f"{len(images) - len(failures)} images, {sum(sum(e.get('counts', {}).values()) for e in run.entries.values())} "
        f"objects: annotated images and {RESULTS} are in {run.out}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for name, reason in failures.items():
        Console(stderr=True).print(f"failed: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
