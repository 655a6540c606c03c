"""``maskbridge train``: labels in, weights out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic.fields import FieldInfo

from maskbridge.adapter.training.settings import VALIDATION_FRACTION, TrainingSettings, ValidationFraction
from maskbridge.cli import options, places
from maskbridge.cli.options import option

DEFAULTS = TrainingSettings()
FIELDS = TrainingSettings.model_fields


def train(
    place: places.Labels,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the weights, metrics and curves.")],
    images: places.Images = None,
    field: places.LabelField = "ground_truth",
    split: places.Split = None,
    validation: Annotated[str | None, typer.Option(metavar="PLACE", help="A place with the labels for validation.")] = None,
    validation_split: Annotated[str | None, typer.Option(help="The split used for validation.")] = None,
    validation_fraction: Annotated[float, option(FieldInfo.from_annotation(ValidationFraction))] = VALIDATION_FRACTION,
    strict: places.Strict = False,
    segment_boxes: Annotated[
        bool,
        typer.Option("--segment-boxes", help="Predict masks for labels with boxes only, with the weights to start from."),
    ] = False,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    class_names: options.ClassNames = None,
    norm_eps: options.NormEps = None,
    weights_backbone: Annotated[
        str | None, typer.Option(help="With --weights none: weights of the backbone, by name or a .pth file.")
    ] = None,
    classes: options.Classes = None,
    epochs: Annotated[int, option(FIELDS["epochs"])] = DEFAULTS.epochs,
    batch_size: Annotated[int, option(FIELDS["batch_size"])] = DEFAULTS.batch_size,
    learning_rate: Annotated[float, option(FIELDS["learning_rate"])] = DEFAULTS.learning_rate,
    warmup_steps: Annotated[int | None, option(FIELDS["warmup_steps"])] = DEFAULTS.warmup_steps,
    trainable_backbone_layers: Annotated[
        int, option(FIELDS["trainable_backbone_layers"])
    ] = DEFAULTS.trainable_backbone_layers,
    scale_jitter: Annotated[tuple[float, float], option(FIELDS["scale_jitter"])] = DEFAULTS.scale_jitter or (1, 1),
    copy_paste: Annotated[float, option(FIELDS["copy_paste"])] = DEFAULTS.copy_paste,
    ema_decay: Annotated[float, option(FIELDS["ema_decay"])] = DEFAULTS.ema_decay,
    precision: options.TrainingPrecision = "float32",
    device: options.Device = None,
    devices: Annotated[int, option(FIELDS["devices"])] = DEFAULTS.devices,
    workers: Annotated[int, option(FIELDS["workers"])] = DEFAULTS.workers,
    seed: Annotated[int, option(FIELDS["seed"])] = DEFAULTS.seed,
) -> None:
    """Train on labels of a COCO file, FiftyOne or Label Studio. The same command resumes after an interruption."""
    from maskbridge.adapter.optional_dependencies import requires

    with requires("train"):
        import torch

        from maskbridge.adapter import MaskRCNN
        from maskbridge.adapter.datasets.readable import refuse_skipped_images
        from maskbridge.adapter.errors import SettingsError
        from maskbridge.adapter.training.box_masks import with_masks
        from maskbridge.adapter.training.devices import is_child_rank
        from maskbridge.adapter.training.run import train as run
        from maskbridge.adapter.weights.class_names import parse_class_names
        from maskbridge.cli.interruption import resumable
        from maskbridge.cli.progress import with_bar
        from maskbridge.cli.reports.training import print_data, print_report
    settings = TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        scale_jitter=scale_jitter,
        copy_paste=copy_paste,
        ema_decay=ema_decay,
        trainable_backbone_layers=trainable_backbone_layers,
        precision=precision,
        devices=devices,
        workers=workers,
        seed=seed,
    )
    read = partial(places.read_labels, images=images, label_field=field)
    labeled = read(place, split=split)
    if validation is not None:
        validated = places.read_labels(validation, label_field=field, split=validation_split)
    elif validation_split is not None:
        validated = read(place, split=validation_split)
    else:
        labeled, validated = labeled.split(validation_fraction)
    if strict:
        refuse_skipped_images(labeled)
        refuse_skipped_images(validated)
    new_names = options.names(classes)
    torch.manual_seed(seed)
    scratch = weights.lower() == "none"
    if scratch and segment_boxes:
        raise SettingsError("--segment-boxes needs weights that predict masks, not --weights none")
    model = MaskRCNN(
        None if scratch else weights,
        builder=builder,
        weights_backbone=weights_backbone,
        class_names=(new_names or labeled.class_names) if scratch else parse_class_names(class_names),
        norm_eps=norm_eps,
        device=device,
        precision="float32",
    )
    if segment_boxes:
        labeled = with_bar(with_masks(labeled, model), len(labeled), "masks for boxes")
        validated = with_bar(with_masks(validated, model), len(validated), "masks for boxes")
    if not is_child_rank():
        print_data(labeled, validated)
    with resumable() as check:
        report = run(
            model,
            labeled,
            out,
            settings,
            class_names=new_names,
            validation=validated or None,
            strict=strict,
            on_step=lambda step: check(),
        )
    if not is_child_rank():
        print_report(report)
    if report.skipped_labels or report.skipped_images:
        raise typer.Exit(options.SKIPPED)
