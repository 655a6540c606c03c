"""The results of ``maskbridge predict`` as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.cli.predictions.result_files import DATASET, RESULTS

if TYPE_CHECKING:
    from maskbridge.cli.predictions.run import Tally

MAX_FAILURES = 100


def describe_counts(counts: Mapping[str, int]) -> str:
    """The objects of an image in words, the most frequent first.

    Example:
        >>> describe_counts({"dog": 1, "person": 2}), describe_counts({})
        ('2 person, 1 dog', 'nothing')
    """
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "nothing"


def print_report(tally: Tally, failures: Mapping[str, str], out: Path, *, pictures: bool) -> None:
    """Prints the objects of each class and of the first images, the failures with their reasons, and the folder."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    images = Table("image", "objects")
    for name, counts in tally.first.items():
        images.add_row(escape(name), escape(describe_counts(counts)))
    console.print(images)
    if tally.images > len(tally.first):
        console.print(f"… and {tally.images - len(tally.first)} more images")
    classes = Table("class", "objects")
    for name, count in tally.objects.most_common():
        classes.add_row(escape(name), str(count))
    console.print(classes)
    files = f"{RESULTS} and {DATASET}" + (" and annotated images" if pictures else "")
    text = f"{tally.images} images, {tally.objects.total()} objects: {files} are in {out}"
    console.print(text, markup=False, soft_wrap=True)
    if tally.dropped:
        text = f"dropped, since the labels have no such class: {describe_counts(tally.dropped)}"
        errors.print(text, markup=False, soft_wrap=True)
    for name, reason in list(failures.items())[:MAX_FAILURES]:
        errors.print(f"failed: {name}: {reason}", markup=False, soft_wrap=True)
    if len(failures) > MAX_FAILURES:
        errors.print(f"… and {len(failures) - MAX_FAILURES} more images that failed")
