"""The process that trains: a project's labels in, a weights file and two figures out.

``python -m maskbridge.backend.training.worker``, started by `maskbridge.backend.training.trainer.Trainer`. It reads its task as
JSON from standard input (settings hold tokens, which must not be in a command line), and says how far it is as JSON, a line
each, on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.web.logging_setup import summary

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset


def run(task: Mapping[str, Any], say: Any) -> None:
    """Trains as the task says.

    Args:
        task: ``settings`` of the server, ``project`` (its number), ``start`` (weights), ``out`` (a folder), ``target`` (the
            weights file to write).
        say: told dicts with ``said``; at the end one with ``done``: the model version and mAP before and after.

    Raises:
        MaskbridgeError: no label can be used, the training cannot go on, ….
    """
    from maskbridge.adapter.datasets.labeled_dataset import usable
    from maskbridge.adapter.evaluation.measure import evaluate
    from maskbridge.adapter.long_jobs import run_to_end
    from maskbridge.adapter.mask_rcnn import MaskRCNN
    from maskbridge.adapter.settings import class_choices
    from maskbridge.adapter.training.box_masks import with_masks
    from maskbridge.adapter.training.run import train
    from maskbridge.adapter.training.saving import Step
    from maskbridge.adapter.training.settings import TrainingSettings
    from maskbridge.adapter.weights.catalog import read_metadata
    from maskbridge.adapter.weights.names import resolve
    from maskbridge.backend.settings import ServerSettings
    from maskbridge.labelstudio.model_version import model_version
    from maskbridge.labelstudio.project import read_project

    settings = ServerSettings(**task["settings"])
    model = MaskRCNN(task["start"], builder=settings.builder, device=settings.device, progress=False)
    found = read_project(
        int(task["project"]), settings, on_image=lambda done, total: say({"said": f"image {done} of {total} fetched"})
    )
    images = with_model_names(found, class_choices(model.class_names))
    if settings.training_segment_boxes:
        images = run_to_end(with_masks(images, model), lambda done: say({"said": f"image {done} has masks for its boxes"}))
    kept = usable(images, images.class_names)
    for reason, count in kept.reasons().items():
        say({"said": f"labels left out: {count} x {reason}", "keep": True})
    part, validation = images.split(settings.training_validation)
    if not validation.objects or not part.objects:  # too few to keep some away
        part = validation = images
        say({"said": f"{len(images)} images are too few to keep some to measure with: measured on all", "keep": True})

    say({"said": "measuring the model that is there"})
    before = run_to_end(evaluate(model, validation, class_names=kept.class_names)).main.numbers["AP"]

    def on_step(step: Step) -> None:
        say({"said": str(step), "part": step.done / max(step.total, 1)})

    report = train(
        model,
        part,
        task["out"],
        TrainingSettings(
            epochs=settings.training_epochs,
            batch_size=settings.training_batch_size,
            learning_rate=settings.training_learning_rate,
        ),
        class_names=kept.class_names,
        validation=validation,
        progress=False,
        on_step=on_step,
    )
    trained = MaskRCNN(replace(resolve(report.best), name=Path(task["target"]).name), device="cpu")
    after = float(report.history[report.best_epoch - 1]["mask_mAP"])
    version = model_version(trained)
    facts = {"project": str(task["project"]), "model_version": version, "mask_mAP": f"{after:.4f}"}
    trained.save(task["target"], extra=read_metadata(report.best) | facts)
    say({"done": {"version": version, "before": before, "after": after}})


def with_model_names(images: LabeledDataset, classes: list[str]) -> LabeledDataset:
    """Labeled images whose labels are called as the model calls what they mean, so that it keeps what it knows.

    Only a label that is a class in other letters is renamed: "Person" to "person".
    """
    folded = {name.casefold(): name for name in classes}
    known = [folded.get(name.casefold(), name) for name in images.class_names]
    names = tuple(known) if len(set(known)) == len(known) else images.class_names
    kept = tuple(replace(image, class_names=names) for image in images)
    return replace(images, images=kept, class_names=names)


def main() -> None:
    """Reads the task and runs it; what goes wrong is a line with ``error``."""
    task = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log

    def say(what: Mapping[str, Any]) -> None:
        out.write(json.dumps(what) + "\n")

    try:
        run(task, say)
    except BrokenPipeError:
        sys.exit(1)  # the server is gone
    except Exception as error:
        say({"error": str(error) if isinstance(error, MaskbridgeError) else summary(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
