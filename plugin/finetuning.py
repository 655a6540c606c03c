"""The long job of ``finetune``: a field's labels in, new weights out."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

import fiftyone as fo

from maskbridge.adapter.files import replacing
from maskbridge.adapter.labelled import DataError, LabelledPhotos, usable
from maskbridge.adapter.library import folder, trainings
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.run import train_steps
from maskbridge.adapter.training.settings import TrainingSettings
from maskbridge.plugin.finetune_request import FinetuneRequest
from maskbridge.plugin.jobs import Progress, Report, Tally, run
from maskbridge.plugin.labelled import labelled_photos
from maskbridge.plugin.model import Failure
from maskbridge.plugin.models import load


def finetune(
    collection: fo.core.collections.SampleCollection, request: FinetuneRequest
) -> Generator[Progress, None, Report]:
    """Trains on a collection's labels. Iterates like `maskbridge.plugin.segmenting.segment`, over the training's steps.

    Raises:
        MaskbridgeError: no label can be used, the weights cannot be had, or the training cannot go on.
    """
    dataset = collection._root_dataset
    photos = labelled_photos(collection, request.label_field)
    names = request.classes or photos.class_names[1:]
    if not len(photos):
        raise DataError("there are no photos to train on")
    model = load(request.weights, request.device)
    kept = usable(photos, names)
    part, validation = photos.split(request.validation)
    settings = TrainingSettings(
        epochs=int(request.epochs), batch_size=int(request.batch_size), learning_rate=float(request.learning_rate)
    )
    name = request.name or default_name(dataset, request.label_field)
    total = -(-len(part) // settings.batch_size) * settings.epochs
    return (
        yield from run(
            dataset,
            "finetune",
            asdict(request) | {"name": name, "classes": list(names)},
            request.label_field,
            model,
            total,
            0,
            lambda tally: _work(model, part, validation, kept, settings, names, name, tally),
        )
    )


def default_name(dataset: fo.Dataset, label_field: str) -> str:
    """A name for new weights: dataset, field and time."""
    return re.sub(r"[^\w-]+", "-", f"{dataset.name}-{label_field}-{time.strftime('%Y%m%d-%H%M%S')}").strip("-")


def _work(
    model: MaskRCNN,
    photos: LabelledPhotos,
    validation: LabelledPhotos,
    kept: LabelledPhotos,
    settings: TrainingSettings,
    names: tuple[str, ...],
    name: str,
    tally: Tally,
) -> Iterator[None]:
    tally.objects = kept.objects
    tally.failures += [Failure(None, label.photo, f"{label.label}: {label.reason}") for label in kept.unusable]
    out = trainings() / name
    steps = train_steps(model, photos, out, settings, class_names=names, validation=validation if len(validation) else None)
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                report = end.value
                break
            tally.done, tally.said = step.done, str(step)
            yield
    finally:
        steps.close()
    published = folder() / f"{name}.safetensors"
    _copy(report.best, published)
    best = report.history[report.best_epoch - 1]
    scores = {key: round(value, 4) for key, value in best.items() if key in ("loss", "box_mAP", "mask_mAP")}
    tally.facts = {"new_weights": published.name, "best_epoch": report.best_epoch, **scores}
    said = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in scores.items())
    tally.said = f"new weights {published.name} (epoch {report.best_epoch}: {said})"
    yield


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
