"""``maskbridge predict``: images in, annotated images and COCO files out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from maskbridge.cli import options, places


def predict(
    place: places.AnyPlace,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the annotated images, predictions.json and dataset.json.")
    ],
    images: places.Images = None,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    class_names: options.ClassNames = None,
    norm_eps: options.NormEps = None,
    confidence: options.ConfidenceOption = options.CONFIDENCE,
    mask_threshold: options.MaskThreshold = 0.5,
    classes: options.Classes = None,
    pictures: Annotated[bool, typer.Option(help="Write annotated images.")] = True,
    form: Annotated[
        Literal["rle", "polygons"], typer.Option("--format", help="The form of the masks in the results.")
    ] = "rle",
    device: options.Device = None,
    precision: options.Precision = "auto",
    engine: options.Engine = "torch",
    streams: options.Streams = 1,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images read at once; by default 2 for each stream on a CPU, 8 on a GPU.")
    ] = None,
) -> None:
    """Detect objects in images: annotated PNGs, COCO results, a table. The same command resumes after an interruption.

    Of a single COCO file, the results have the image and category ids, and only its categories.
    """
    from maskbridge.adapter.engines.devices import default_batch_size
    from maskbridge.adapter.settings import class_choices
    from maskbridge.cli.interruption import resumable
    from maskbridge.cli.model import load_model
    from maskbridge.cli.predictions.image_files import image_files
    from maskbridge.cli.predictions.run import PredictionRun
    from maskbridge.cli.reports.prediction import print_report

    parts = [places.find_images(address, images=images, out=out) for address in place]
    from_coco = len(parts) == 1 and parts[0].categories is not None
    files = image_files(image if from_coco else replace(image, image_id=None) for part in parts for image in part.images)
    skipped = {name: reason for part in parts for name, reason in part.skipped.items()}
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
    settings = model.settings(
        confidence_threshold=confidence, mask_threshold=mask_threshold, classes=options.names(classes)
    )
    categories = parts[0].categories if from_coco else None
    if categories is None:
        categories = {name: model.class_names.index(name) for name in class_choices(model.class_names)}
    run = PredictionRun(model, settings, out, categories=categories, pictures=pictures, form=form)
    with resumable() as check:
        tally = run.predict(files, batch_size=batch_size or default_batch_size(model.device, model.streams), on_image=check)
    failures = skipped | tally.failures
    print_report(tally, failures, out, pictures=pictures)
    if failures or tally.dropped:
        raise typer.Exit(options.SKIPPED)
