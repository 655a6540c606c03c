"""``maskbridge evaluate``: COCO metrics of weights or of existing predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskbridge.cli import options, places


def evaluate(
    place: places.Labels,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for evaluation.json, curves and the worst images.")],
    images: places.Images = None,
    field: places.LabelField = "ground_truth",
    split: places.Split = None,
    predictions: Annotated[
        str | None, typer.Option(help="FiftyOne: evaluate this field, not weights; the App's panel shows the result.")
    ] = None,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    classes: options.Classes = None,
    device: options.Device = None,
    precision: options.Precision = "float32",
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst images to draw.")] = 12,
) -> None:
    """Compute COCO metrics: the twelve of boxes and masks, those of each class, curves, and draw the worst images."""
    from maskbridge.adapter.errors import MaskbridgeError
    from maskbridge.adapter.optional_dependencies import requires

    with requires("train"):
        from maskbridge.adapter import MaskRCNN
        from maskbridge.adapter.evaluation.measure import evaluate as evaluate_model
        from maskbridge.adapter.evaluation.report import write_report
        from maskbridge.cli.evaluation_report import print_report
        from maskbridge.cli.progress import with_bar
    labeled = places.read_labels(place, images=images, label_field=field, split=split)
    names = options.names(classes)
    if predictions is None:
        model = MaskRCNN(weights, builder=builder, device=device, precision=precision)
        steps = evaluate_model(model, labeled, class_names=names)
    elif not place.startswith(places.FIFTYONE):
        raise MaskbridgeError(f"--predictions names a field of a FiftyOne dataset (fiftyone:DATASET), not of {place}")
    else:
        from maskbridge.plugin.evaluation import of_field

        steps = of_field(place.removeprefix(places.FIFTYONE), field, predictions, labeled, split=split, class_names=names)
    evaluation = with_bar(steps, len(labeled))
    write_report(evaluation, labeled, out, worst=worst)
    print_report(evaluation, labeled, out)
    if labeled.skipped:
        raise typer.Exit(options.SKIPPED)
