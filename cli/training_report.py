"""What ``maskbridge train`` was given and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset
    from maskbridge.adapter.training.run import TrainingReport

MOST_ROWS = 12


def print_data(images: LabeledDataset, validation: LabeledDataset) -> None:
    """Prints how many images and objects there are, and which labels could not be read."""
    console = Console(highlight=False)
    console.print(f"{len(images)} images with {images.objects} objects to train on, {len(validation)} to measure with")
    for label in images.skipped[:MOST_ROWS]:
        console.print(f"  skipped: {label.image}, {label.label}: {label.reason}", markup=False, soft_wrap=True)
    if len(images.skipped) > MOST_ROWS:
        console.print(f"  … and {len(images.skipped) - MOST_ROWS} labels more")


def print_report(report: TrainingReport) -> None:
    """Prints the epochs, the labels that were skipped and why, and where the weights are."""
    console = Console(highlight=False)
    measured = "mask_mAP" in report.history[-1]
    table = Table("epoch", "loss", *(["box mAP", "mask mAP", "mask AP50"] if measured else []))
    shown = [row for row in report.history if row["epoch"] > len(report.history) - MOST_ROWS]
    for row in shown:
        scores = [f"{row[name]:.3f}" for name in ("box_mAP", "mask_mAP", "mask_AP50")] if measured else []
        star = " *" if row["epoch"] == report.best_epoch else ""
        table.add_row(f"{row['epoch']:.0f}{star}", f"{row['loss']:.3f}", *scores)
    console.print(table)
    reasons = list(report.skipped_labels.items())
    for reason, count in reasons[:MOST_ROWS]:
        console.print(f"labels skipped: {count} x {reason}", markup=False, soft_wrap=True)
    if len(reasons) > MOST_ROWS:
        rest = sum(count for _, count in reasons[MOST_ROWS:])
        console.print(f"  … and {rest} labels more, for {len(reasons) - MOST_ROWS} other reasons")
    if report.resumed:
        console.print(f"resumed after epoch {report.resumed}")
    console.print(f"the best weights (epoch {report.best_epoch}): {report.best}", markup=False, soft_wrap=True)
    console.print(
        f"look at them: maskbridge predict IMAGES --weights {report.best} -o FOLDER", markup=False, soft_wrap=True
    )
