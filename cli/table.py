"""What ``maskbridge predict`` found, as a table."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.cli.prediction_run import RESULTS, PhotoFile, PredictionRun

MOST_ROWS = 40


def print_report(run: PredictionRun, photos: list[PhotoFile]) -> None:
    """Prints what was found in each photo, what failed and why, and where the results are."""
    table, console = Table("photo", "found"), Console()
    for photo in photos[:MOST_ROWS]:
        found = run.entries[photo.name].get("found", {})
        failed = run.entries[photo.name].get("failed")
        names = ", ".join(f"{count} {name}" for name, count in sorted(found.items(), key=lambda pair: -pair[1]))
        table.add_row(escape(photo.name), f"[red]{escape(failed)}[/red]" if failed else escape(names) or "nothing")
    console.print(table)
    if len(photos) > MOST_ROWS:
        console.print(f"… and {len(photos) - MOST_ROWS} photos more")
    failures = run.failures(photos)
    console.print(
        f"{len(photos) - len(failures)} photos, {sum(sum(e.get('found', {}).values()) for e in run.entries.values())} "
        f"objects: pictures and {RESULTS} are in {run.out}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for name, reason in failures.items():
        Console(stderr=True).print(f"failed: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
