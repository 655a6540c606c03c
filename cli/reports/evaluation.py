"""The results of ``maskbridge evaluate`` as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.adapter.evaluation.report import CURVES, RESULTS, WORST
from maskbridge.adapter.evaluation.scores import NUMBERS
from maskbridge.cli.reports.training import print_skipped_images

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset
    from maskbridge.adapter.evaluation.measure import Evaluation

MAX_ROWS = 100


def print_report(evaluation: Evaluation, images: LabeledDataset, out: Path) -> None:
    """Prints the COCO metrics, those of each class, the classes and labels that were skipped, and the folder.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.evaluation.measure import measure
        >>> from maskbridge.adapter.long_jobs import run_to_end
        >>> cat = Instances((20, 30), [[2, 3, 12, 13]], [1], ("__background__", "cat"), [None], scores=[0.9])
        >>> images = labeled_images([("a.jpg", cat)])
        >>> print_report(run_to_end(measure(images, [cat], ["cat"])), images, Path("out"))  # doctest: +ELLIPSIS
        ┏...
        the labels have no masks: only boxes were evaluated
        evaluation.json, ... are in out
    """
    console = Console(highlight=False)
    table = Table(f"{len(evaluation.images)} images, {evaluation.objects} objects", *evaluation.scores)
    for number in NUMBERS:
        table.add_row(number, *(_formatted(scores.numbers[number]) for scores in evaluation.scores.values()))
    console.print(table)
    kinds = [f"{kind} {number}" for kind in evaluation.scores for number in ("AP", "AP50")]
    classes = Table("class", "objects", *kinds, "best F1", "at confidence")
    per_class = evaluation.main.per_class
    for name in sorted(per_class, key=lambda name: -per_class[name]["objects"])[:MAX_ROWS]:
        values = [_formatted(s.per_class[name][number]) for s in evaluation.scores.values() for number in ("AP", "AP50")]
        best = [_formatted(per_class[name][number]) for number in ("best_f1", "best_confidence")]
        classes.add_row(escape(name), f"{per_class[name]['objects']:.0f}", *values, *best)
    console.print(classes)
    best_values = {name: numbers["best_confidence"] for name, numbers in per_class.items()}
    if chosen := ",".join(f"{name}={value:g}" for name, value in best_values.items() if value >= 0):
        console.print(f"highest F1 of each class: --confidence {chosen}", markup=False, soft_wrap=True)
    if "masks" not in evaluation.scores:
        console.print("the labels have no masks: only boxes were evaluated")
    if evaluation.not_measured:
        console.print(
            f"not evaluated, since they are not classes of the model: {', '.join(evaluation.not_measured)}", markup=False
        )
    for reason, count in images.reasons().items():
        console.print(f"labels skipped: {count} x {reason}", markup=False, soft_wrap=True)
    for note in images.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    print_skipped_images((*images.skipped_images, *evaluation.skipped_images))
    console.print(f"{RESULTS}, {CURVES} and the worst images ({WORST}) are in {out}", markup=False, soft_wrap=True)


def _formatted(value: float) -> str:
    return "" if value < 0 else f"{value:.4f}"
