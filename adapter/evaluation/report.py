"""An evaluation as files: numbers for machines, curves and the worst images as pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.datasets.labeled_dataset import LabeledImage
from maskbridge.adapter.drawing import draw
from maskbridge.adapter.evaluation.measure import Evaluation
from maskbridge.adapter.images import read

RESULTS = "evaluation.json"
CURVES = "precision-recall.png"
WORST = "worst"
MOST_CURVES = 8
_WIDEST = 900
"""Pixels: pictures of the worst images are scaled down to this on either side."""


def write_report(evaluation: Evaluation, out: Path, *, worst: int = 12, confidence_threshold: float = 0.5) -> None:
    """Writes `RESULTS`, `CURVES` and, in `WORST`, the images with the most mistakes: labels left, predictions right.

    Args:
        evaluation: what to write.
        out: the folder; created if needed.
        worst: how many images are drawn.
        confidence_threshold: predictions with a lower score are not drawn.
    """
    with atomic_write(out / RESULTS) as file:
        file.write_text(json.dumps(evaluation.to_dict(), indent=1), encoding="utf-8")
    with atomic_write(out / CURVES) as file:
        draw_precision_recall(evaluation, file)
    for old in (out / WORST).glob("*.jpg"):
        old.unlink()
    for rank, index in enumerate(evaluation.worst(worst), start=1):
        matches = evaluation.main.matches[index]
        counts = "{true_positives} TP, {false_negatives} FN, {false_positives} FP".format(**matches)
        labels, predicted = evaluation.labels[index], evaluation.predictions[index]
        picture = _side_by_side(labels, predicted, evaluation.class_names, confidence_threshold, counts)
        with atomic_write(out / WORST / f"{rank:02d}-{Path(labels.name).stem}.jpg") as file:
            picture.save(file, format="JPEG", quality=88)


def draw_precision_recall(evaluation: Evaluation, path: Path) -> None:
    """Draws precision against recall at IoU 0.50, the mean of all classes, and the classes with most objects.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.evaluation.measure import measure
        >>> from maskbridge.adapter.long_jobs import run_to_end
        >>> cat = Instances((20, 30), [[2, 3, 12, 13]], [1], ("__background__", "cat"), [None], scores=[0.9])
        >>> evaluation = run_to_end(measure(labeled_images([("a.jpg", cat)]), [cat], ["cat"]))
        >>> with TemporaryDirectory() as folder:
        ...     draw_precision_recall(evaluation, Path(folder) / "curves.png")
        ...     (Path(folder) / "curves.png").is_file()
        True
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(evaluation.scores), 4.4), dpi=110, layout="constrained")
    recall = np.linspace(0, 1, 101)
    for axis, (kind, scores) in zip(
        figure.subplots(1, len(evaluation.scores), squeeze=False)[0], evaluation.scores.items()
    ):
        names = sorted(scores.curves, key=lambda name: -scores.per_class[name]["objects"])[:MOST_CURVES]
        for name in names:
            axis.plot(recall, scores.curves[name], linewidth=1.2, label=f"{name} {scores.per_class[name]['AP50']:.2f}")
        if len(scores.curves) > 1:
            mean = np.mean([curve.clip(0) for curve in scores.curves.values()], axis=0)
            axis.plot(recall, mean, color="black", linewidth=2.2, label=f"all {scores.numbers['AP50']:.2f}")
        axis.set(title=f"{kind}, IoU 0.50", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, title="AP50", title_fontsize=8)
    figure.savefig(path, format="png")


def _side_by_side(
    labels: LabeledImage, predicted: LabeledImage, class_names: tuple[str, ...], confidence_threshold: float, counts: str
) -> Image.Image:
    """Labels and predictions of an image next to each other, with their counts of matches above the predictions."""
    image = read(labels.image)
    truth, instances = labels.instances, predicted.instances
    truth = truth[[name in class_names for name in truth.names]] if len(truth) else truth
    if instances.scores is not None and len(instances):
        requested = [
            name in class_names and score >= confidence_threshold for name, score in zip(instances.names, instances.scores)
        ]
        instances = instances[requested]
    pictures = [draw(image, part) for part in (truth, instances)]
    for picture in pictures:
        picture.thumbnail((_WIDEST, _WIDEST))
    width, height = pictures[0].size
    line = 26
    sheet = Image.new("RGB", (2 * width + 6, height + line), "white")
    for column, (picture, title) in enumerate(zip(pictures, ("labels", f"predictions: {counts}"))):
        sheet.paste(picture, (column * (width + 6), line))
        ImageDraw.Draw(sheet).text((column * (width + 6) + 4, 4), title, fill="black", font=ImageFont.load_default(size=15))
    return sheet
