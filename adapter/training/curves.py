"""The metrics of a training run as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskbridge.adapter.training.module import LOSSES


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Plots losses and, with validation images, scores by epoch, as a PNG.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> epochs = [{"epoch": epoch, "loss": 5 / epoch, **dict.fromkeys(LOSSES, 1 / epoch)} for epoch in (1, 2)]
        >>> with TemporaryDirectory() as folder:
        ...     draw_curves(epochs, Path(folder) / "curves.png")
        ...     (Path(folder) / "curves.png").is_file()
        True
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    scores = [name for name in ("box_mAP", "box_AP50", "mask_mAP", "mask_AP50") if name in history[-1]]
    figure = Figure(figsize=(11 if scores else 6, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots(1, 2 if scores else 1, squeeze=False)[0]
    for name in ("loss", *LOSSES):
        values = [row[name] for row in history]
        style = {"linewidth": 2.2, "color": "black"} if name == "loss" else {"linewidth": 1.3}
        axes[0].plot(epochs, values, label="sum" if name == "loss" else name.removeprefix("loss_"), marker=".", **style)
    axes[0].set(title="training losses", xlabel="epoch", ylim=(0, 1.3 * max(row["loss"] for row in history)))
    if scores:
        for name in scores:
            axes[1].plot(epochs, [row.get(name, 0.0) for row in history], label=name.replace("_", " "), marker=".")
        axes[1].set(title="validation", xlabel="epoch", ylim=(0, None))
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, format="png")
