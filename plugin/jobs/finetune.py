"""The long job of ``finetune``: a field's labels in, new weights out."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import fiftyone as fo

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, usable
from maskbridge.adapter.datasets.readable import refuse_skipped_images
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.settings import TrainingSettings
from maskbridge.adapter.training.steps import train_steps
from maskbridge.adapter.weights.catalog import training_runs, weights_folder
from maskbridge.plugin.datasets import flat, labeled_dataset
from maskbridge.plugin.jobs.base import Progress, Report, Run, Tally, execute
from maskbridge.plugin.jobs.model_cache import load
from maskbridge.plugin.model import Failure
from maskbridge.plugin.requests.finetune import FinetuneRequest


@dataclass(frozen=True, kw_only=True)
class _Training:
    """A model to start from, images for training and for validation, and the name of the new weights."""

    model: MaskRCNN
    images: LabeledDataset
    validation: LabeledDataset
    class_names: tuple[str, ...]
    settings: TrainingSettings
    name: str


def finetune(
    collection: fo.core.collections.SampleCollection, request: FinetuneRequest
) -> Generator[Progress, None, Report]:
    """Trains on a collection's labels.

    Iterates like `maskbridge.plugin.jobs.segment_instances.segment_instances`, over the steps of the training run.

    Raises:
        MaskbridgeError: no label can be used, the weights cannot be loaded, or the training run cannot continue.
    """
    dataset = collection._root_dataset
    labeled = labeled_dataset(collection, request.label_field)
    names = request.classes or labeled.class_names[1:]
    if not len(labeled):
        refuse_skipped_images(labeled)
        raise DataError("there are no images to train on")
    trainable = usable(labeled, names)
    images, validation = labeled.split(request.validation)
    training = _Training(
        model=load(request),
        images=images,
        validation=validation,
        class_names=names,
        settings=TrainingSettings(
            epochs=request.epochs,
            batch_size=request.batch_size,
            learning_rate=request.learning_rate,
            precision=request.precision,
        ),
        name=request.name or default_name(dataset, request.label_field),
    )
    run = Run(
        dataset=dataset,
        operator="finetune",
        request=request.replace(name=training.name, classes=tuple(names)),
        field=request.label_field,
        model=training.model,
        total=-(-len(images) // training.settings.batch_size) * training.settings.epochs,
    )
    sample_ids = _sample_ids(flat(collection))
    return (yield from execute(run, lambda tally: _work(training, trainable, sample_ids, tally)))


def default_name(dataset: fo.Dataset, label_field: str) -> str:
    """A name for new weights: dataset, field and time.

    Example:
        >>> default_name(fo.Dataset("street scenes", overwrite=True), "ground_truth")[:26]
        'street-scenes-ground_truth'
    """
    return re.sub(r"[^\w-]+", "-", f"{dataset.name}-{label_field}-{time.strftime('%Y%m%d-%H%M%S')}").strip("-")


def _sample_ids(samples: fo.core.collections.SampleCollection) -> dict[str, str]:
    """The samples' ids by the name of their file, where only one has it."""
    names = [Path(path).name for path in samples.values("filepath")]
    counts = Counter(names)
    return {name: sample_id for name, sample_id in zip(names, samples.values("id")) if counts[name] == 1}


def _work(training: _Training, trainable: LabeledDataset, sample_ids: dict[str, str], tally: Tally) -> Iterator[None]:
    tally.objects = trainable.objects
    tally.failures += [
        Failure(sample_ids.get(label.image), label.image, f"{label.label}: {label.reason}") for label in trainable.skipped
    ]
    steps = train_steps(
        training.model,
        training.images,
        training_runs() / training.name,
        training.settings,
        class_names=training.class_names,
        validation=training.validation if len(training.validation) else None,
    )
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                report = end.value
                break
            tally.done, tally.message = step.done, str(step)
            yield
    finally:
        steps.close()
    tally.failures += [Failure(sample_ids.get(image.name), image.name, image.reason) for image in report.skipped_images]
    published = weights_folder() / f"{training.name}.safetensors"
    with atomic_write(published) as temporary:
        shutil.copyfile(report.best, temporary)
    best = report.history[report.best_epoch - 1]
    scores = {key: round(value, 4) for key, value in best.items() if key in ("loss", "box_mAP", "mask_mAP")}
    tally.results = {"new_weights": published.name, "best_epoch": report.best_epoch, **scores}
    figures = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in scores.items())
    if training.images.notes:
        tally.results["notes"] = list(training.images.notes)
    notes = "".join(f"; {note}" for note in training.images.notes)
    tally.message = f"new weights {published.name} (epoch {report.best_epoch}: {figures}){notes}"
    yield
