"""``maskbridge train``: labels in, weights out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskbridge.cli import options, places


def train(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the weights, metrics and curves.")],
    coco: places.Coco = None,
    images: places.Images = None,
    fiftyone: places.FiftyOne = None,
    field: places.Field = "ground_truth",
    label_studio: places.LabelStudioProject = None,
    label_studio_export: places.LabelStudioExport = None,
    split: places.Split = None,
    validation_split: Annotated[str | None, typer.Option(help="The split used for validation.")] = None,
    validation_coco: Annotated[Path | None, typer.Option(help="A COCO file of the images used for validation.")] = None,
    validation_fraction: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Without these two: fraction of the images used for validation."),
    ] = 0.1,
    segment_boxes: Annotated[
        bool,
        typer.Option("--segment-boxes", help="Predict masks for labels with boxes only, with the weights to start from."),
    ] = False,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    weights_backbone: Annotated[
        str | None, typer.Option(help="With --weights none: weights of the backbone, by name or a .pth file.")
    ] = None,
    classes: options.Classes = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over all images.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Learning rate of AdamW after the warm-up; cosine decay.")] = 1e-4,
    warmup_steps: Annotated[
        int | None, typer.Option(help="Steps of the warm-up.  \\[default: a tenth, at most 1,000]")
    ] = None,
    trainable_backbone_layers: Annotated[
        int, typer.Option(min=0, max=5, help="Blocks of the backbone to train, from the last.")
    ] = 3,
    scale_jitter: Annotated[tuple[float, float], typer.Option(help="Minimum and maximum scale of an image.")] = (
        0.75,
        1.25,
    ),
    precision: options.Precision = "float32",
    device: options.Device = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Train on labels of a COCO file, FiftyOne or Label Studio. The same command resumes after an interruption."""
    from maskbridge.adapter.optional_dependencies import requires

    source = places.Source(
        coco=coco,
        images=images,
        fiftyone=fiftyone,
        field=field,
        label_studio=label_studio,
        export=label_studio_export,
    )
    with requires("train"):
        import torch

        from maskbridge.adapter import MaskRCNN
        from maskbridge.adapter.datasets.coco_dataset import read_coco
        from maskbridge.adapter.errors import SettingsError
        from maskbridge.adapter.training.box_masks import with_masks
        from maskbridge.adapter.training.devices import is_child_rank
        from maskbridge.adapter.training.run import train as run
        from maskbridge.adapter.training.settings import TrainingSettings
        from maskbridge.cli.progress import with_bar
        from maskbridge.cli.training_report import print_data, print_report
    settings = TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        scale_jitter=scale_jitter,
        trainable_backbone_layers=trainable_backbone_layers,
        precision=precision,
        devices=devices,
        workers=workers,
        seed=seed,
    )
    labeled = source.read(split)
    if validation_coco is not None:
        validation = read_coco(validation_coco)
    elif validation_split is not None:
        validation = source.read(validation_split)
    else:
        labeled, validation = labeled.split(validation_fraction)
    class_names = options.names(classes)
    torch.manual_seed(seed)
    scratch = weights.lower() == "none"
    if scratch and segment_boxes:
        raise SettingsError("--segment-boxes needs weights that predict masks, not --weights none")
    model = MaskRCNN(
        None if scratch else weights,
        builder=builder,
        weights_backbone=weights_backbone,
        class_names=(class_names or labeled.class_names) if scratch else None,
        device=device,
    )
    if segment_boxes:
        labeled = with_bar(with_masks(labeled, model), len(labeled), "masks for boxes")
        validation = with_bar(with_masks(validation, model), len(validation), "masks for boxes")
    if not is_child_rank():
        print_data(labeled, validation)
    report = run(model, labeled, out, settings, class_names=class_names, validation=validation or None)
    if not is_child_rank():
        print_report(report)
    if report.skipped_labels:
        raise typer.Exit(options.SKIPPED)
