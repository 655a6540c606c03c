"""The data and the results of ``maskbridge train``, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, SkippedImage
    from maskbridge.adapter.training.run import TrainingReport

MAX_ROWS = 12


def print_data(images: LabeledDataset, validation: LabeledDataset) -> None:
    """Prints the numbers of images and objects, and the labels that were skipped.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> cat = Instances((2, 3), [[0, 0, 3, 2]], [1], ("__background__", "cat"), [None])
        >>> print_data(labeled_images([("a.jpg", cat)]), labeled_images([]))
        1 images with 1 objects to train on, 0 for validation
    """
    console = Console(highlight=False)
    console.print(f"{len(images)} images with {images.objects} objects to train on, {len(validation)} for validation")
    for label in images.skipped[:MAX_ROWS]:
        console.print(f"  skipped: {label.image}, {label.label}: {label.reason}", markup=False, soft_wrap=True)
    if len(images.skipped) > MAX_ROWS:
        console.print(f"  … and {len(images.skipped) - MAX_ROWS} more labels")
    for note in (*images.notes, *validation.notes):
        console.print(f"  note: {note}", markup=False, soft_wrap=True)


def print_report(report: TrainingReport) -> None:
    """Prints the epochs, why labels were skipped, and the path of the weights."""
    console = Console(highlight=False)
    validated = "mask_mAP" in report.history[-1]
    table = Table("epoch", "loss", *(["box mAP", "mask mAP", "mask AP50"] if validated else []))
    rows = [row for row in report.history if row["epoch"] > len(report.history) - MAX_ROWS]
    for row in rows:
        scores = [f"{row[name]:.3f}" for name in ("box_mAP", "mask_mAP", "mask_AP50")] if validated else []
        star = " *" if row["epoch"] == report.best_epoch else ""
        table.add_row(f"{row['epoch']:.0f}{star}", f"{row['loss']:.3f}", *scores)
    console.print(table)
    reasons = list(report.skipped_labels.items())
    for reason, count in reasons[:MAX_ROWS]:
        console.print(f"labels skipped: {count} x {reason}", markup=False, soft_wrap=True)
    if len(reasons) > MAX_ROWS:
        rest = sum(count for _, count in reasons[MAX_ROWS:])
        console.print(f"  … and {rest} more labels, for {len(reasons) - MAX_ROWS} other reasons")
    print_skipped_images(report.skipped_images)
    if report.resumed:
        console.print(f"resumed after epoch {report.resumed}")
    console.print(f"the best weights (epoch {report.best_epoch}): {report.best}", markup=False, soft_wrap=True)
    console.print(f"to try them: maskbridge predict IMAGES --weights {report.best} -o FOLDER", markup=False, soft_wrap=True)


def print_skipped_images(images: Sequence[SkippedImage]) -> None:
    """Prints the images that were skipped, with their reasons.

    Example:
        >>> from maskbridge.adapter.datasets.labeled_dataset import SkippedImage
        >>> print_skipped_images([SkippedImage("a.jpg", "no such file", labels=2)])
        image skipped: a.jpg (2 labels): no such file
    """
    console = Console(highlight=False)
    for image in images[:MAX_ROWS]:
        text = f"image skipped: {image.name} ({image.labels} labels): {image.reason}"
        console.print(text, markup=False, soft_wrap=True)
    if len(images) > MAX_ROWS:
        console.print(f"… and {len(images) - MAX_ROWS} more images")
