"""``maskbridge evaluate``: COCO metrics of weights or of existing predictions."""

from __future__ import annotations

from dataclasses import replace
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
        str | None,
        typer.Option(
            metavar="FILE.json|FIELD",
            help="Evaluate predictions, not weights: a file of results, or a field of a FiftyOne dataset.",
        ),
    ] = None,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    class_names: options.ClassNames = None,
    norm_eps: options.NormEps = None,
    classes: options.Classes = None,
    device: options.Device = None,
    precision: options.Precision = "auto",
    engine: options.Engine = "torch",
    streams: options.Streams = 1,
    strict: places.Strict = False,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst images to draw.")] = 12,
) -> None:
    """Compute COCO metrics: the twelve of boxes and masks, those of each class, curves, and draw the worst images."""
    from maskbridge.adapter.errors import MaskbridgeError
    from maskbridge.adapter.optional_dependencies import requires

    with requires("train"):
        import matplotlib  # noqa: F401 the report draws curves

        from maskbridge.adapter.datasets.readable import refuse_skipped_images
        from maskbridge.adapter.evaluation.measure import evaluate as evaluate_model
        from maskbridge.adapter.evaluation.measure import measure
        from maskbridge.adapter.evaluation.prediction_file import read_predictions
        from maskbridge.adapter.evaluation.report import write_report
        from maskbridge.cli.model import load_model
        from maskbridge.cli.progress import with_bar
        from maskbridge.cli.reports.evaluation import print_report
    labeled = places.read_labels(place, images=images, label_field=field, split=split)
    if strict:
        refuse_skipped_images(labeled)
    names = options.names(classes)
    if predictions is None:
        model = load_model(
            weights,
            builder=builder,
            class_names=class_names,
            norm_eps=norm_eps,
            device=device,
            precision=precision,
            engine=engine,
            streams=streams,
        )
        steps = evaluate_model(model, labeled, class_names=names, strict=strict)
    elif predictions.lower().endswith(".json"):
        read = read_predictions(Path(predictions), labeled)
        labeled = replace(labeled, skipped=labeled.skipped + read.skipped)
        steps = measure(labeled, read.instances(labeled), names or labeled.class_names, strict=strict)
    elif not place.startswith(places.FIFTYONE):
        raise MaskbridgeError(
            f"--predictions is a FILE.json, or a field of a fiftyone:DATASET, not {predictions!r} of {place}"
        )
    else:
        from maskbridge.plugin.evaluation import of_field

        steps = of_field(place.removeprefix(places.FIFTYONE), field, predictions, labeled, split=split, class_names=names)
    evaluation = with_bar(steps, len(labeled))
    write_report(evaluation, out, worst=worst)
    print_report(evaluation, labeled, out)
    if labeled.skipped or labeled.skipped_images or evaluation.skipped_images:
        raise typer.Exit(options.SKIPPED)
