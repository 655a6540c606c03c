"""``maskbridge predict``: images in, annotated images and a COCO results file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskbridge.cli import options, places


def predict(
    place: places.AnyPlace,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the annotated images and predictions.json.")],
    images: places.Images = None,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    confidence: options.Confidence = 0.5,
    mask_threshold: options.MaskThreshold = 0.5,
    classes: options.Classes = None,
    device: options.Device = None,
    precision: options.Precision = "float32",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in a batch; by default 1 on a CPU, 8 on a GPU.")
    ] = None,
) -> None:
    """Detect objects in images: annotated PNGs, COCO results, a table. The same command resumes after an interruption."""
    from maskbridge.adapter import MaskRCNN
    from maskbridge.cli.image_files import image_files
    from maskbridge.cli.prediction_report import print_report
    from maskbridge.cli.prediction_run import PredictionRun

    parts = [places.find_images(address, images=images, out=out) for address in place]
    files = image_files(parts)
    skipped = {name: reason for part in parts for name, reason in part.skipped.items()}
    model = MaskRCNN(weights, builder=builder, device=device, precision=precision)
    settings = model.settings(
        confidence_threshold=confidence, mask_threshold=mask_threshold, classes=options.names(classes)
    )
    run = PredictionRun(model, settings, out)
    run.predict(files, batch_size=batch_size)
    failures = skipped | run.failures(files)
    print_report(run, files, failures)
    if failures:
        raise typer.Exit(options.SKIPPED)
