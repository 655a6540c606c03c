"""The result of ``maskbridge check`` as tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskbridge.cli.reports.training import print_skipped_images

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.summary import Summary

MAX_CLASSES = 100
MAX_LABELS = 20


def print_summary(summary: Summary) -> None:
    """Prints counts, classes, sizes, and everything that cannot be used with its reason.

    Example:
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.datasets.summary import summarize
        >>> print_summary(summarize(labeled_images([])))  # doctest: +ELLIPSIS
        0 images (0 without objects), 0 objects (0 without a mask, 0 crowds)
        ...
        nothing is skipped
    """
    console = Console(highlight=False)
    console.print(
        f"{summary.images} images ({summary.without_objects} without objects), {summary.objects} objects "
        f"({summary.without_mask} without a mask, {summary.crowds} crowds)",
        soft_wrap=True,
    )
    classes = Table("class", "objects", "images")
    for name, in_class in list(summary.classes.items())[:MAX_CLASSES]:
        classes.add_row(escape(name), str(in_class.objects), str(in_class.images))
    console.print(classes)
    if len(summary.classes) > MAX_CLASSES:
        console.print(f"… and {len(summary.classes) - MAX_CLASSES} more classes")
    if summary.areas is not None:
        sizes = ", ".join(f"{count} {name}" for name, count in summary.sizes.items())
        smallest, median, largest = summary.areas
        console.print(
            f"sizes: {sizes}; areas from {smallest:.0f} to {largest:.0f} pixels, median {median:.0f}", soft_wrap=True
        )
    for note in summary.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for reason, count in summary.not_trained.items():
        console.print(f"not used for training: {count} x {reason}", markup=False, soft_wrap=True)
    for reason, count in Counter(label.reason for label in summary.skipped_labels).most_common():
        console.print(f"labels skipped: {count} x {reason}", markup=False, soft_wrap=True)
    for label in summary.skipped_labels[:MAX_LABELS]:
        console.print(f"  {label.image}, {label.label}: {label.reason}", markup=False, soft_wrap=True)
    if len(summary.skipped_labels) > MAX_LABELS:
        console.print(f"  … and {len(summary.skipped_labels) - MAX_LABELS} more labels")
    print_skipped_images(summary.skipped_images)
    if summary.complete:
        console.print("nothing is skipped")
