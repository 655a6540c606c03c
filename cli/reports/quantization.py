"""The report of ``maskbridge quantize``: what was tried, its loss and its speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from maskbridge.adapter.quantization.quantize import Report


def print_report(report: Report, skipped: Mapping[str, str], reasons: Mapping[str, int]) -> None:
    """Prints a table of what was tried, the limit, the images that were skipped, and the labels by reason.

    Example:
        >>> from maskbridge.adapter.quantization.quantize import Report, Trial
        >>> from maskbridge.adapter.weights.quantized import Loss
        >>> trial = Trial("all", Loss(50, 120, 0.97, 0.02, 0.0), 0.05, True)
        >>> print_report(Report("…", 50, 0.1, None, (trial,), None, ()), {}, {})  # doctest: +ELLIPSIS
        <BLANKLINE>
        ...
        limit: …, on 50 images
    """
    console = Console(highlight=False)
    with_ap = report.ap is not None
    columns = ["AP", "mask IoU", "lost", "gained", "speed", "passed"]
    first = Column("layers in int8", min_width=20)
    table = Table(first, *(name for name in columns if with_ap or name != "AP"), box=box.SIMPLE)  # 80 columns are enough
    table.add_row("none", *([f"{100 * (report.ap or 0):.2f}"] if with_ap else []), "", "", "", f"{report.seconds:.3f} s")
    for trial in report.trials:
        loss = trial.loss
        table.add_row(
            trial.layers,
            *([f"{100 * (report.ap or 0) - (loss.ap or 0):.2f}"] if with_ap else []),
            f"{loss.mask_iou:.3f}",
            f"{100 * loss.lost:.1f} %",
            f"{100 * loss.gained:.1f} %",
            f"{report.seconds / trial.seconds:.2f} x",
            "yes" if trial.passed else "no",
        )
    console.print(table)
    used = report.images - len(report.skipped_images)
    console.print(f"limit: {report.limit}, on {used} images", markup=False, soft_wrap=True)
    for name, reason in skipped.items():
        console.print(f"skipped: {name}: {reason}", markup=False, soft_wrap=True)
    for reason, count in reasons.items():
        console.print(f"labels skipped: {count} x {reason}", markup=False, soft_wrap=True)
