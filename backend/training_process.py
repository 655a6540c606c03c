"""The process that trains: a project's labels in, a weights file and two figures out.

``python -m maskbridge.backend.training_process``, started by `maskbridge.backend.training.Trainer`. It reads its task as
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
from maskbridge.backend.log import summary

if TYPE_CHECKING:
    from maskbridge.adapter.labelled import LabelledPhotos


def run(task: Mapping[str, Any], say: Any) -> None:
    """Trains as the task says.

    Args:
        task: ``settings`` of the server, ``project`` (its number), ``start`` (weights), ``out`` (a folder), ``target`` (the
            weights file to write).
        say: told dicts with ``said``; at the end one with ``done``: the model version and mAP before and after.

    Raises:
        MaskbridgeError: no label can be used, the training cannot go on, ….
    """
    from maskbridge.adapter.evaluation.measure import evaluate
    from maskbridge.adapter.labelled import usable
    from maskbridge.adapter.library import read_metadata
    from maskbridge.adapter.mask_rcnn import MaskRCNN
    from maskbridge.adapter.settings import class_choices
    from maskbridge.adapter.steps import finished
    from maskbridge.adapter.training.box_masks import with_masks
    from maskbridge.adapter.training.run import train
    from maskbridge.adapter.training.saving import Step
    from maskbridge.adapter.training.settings import TrainingSettings
    from maskbridge.adapter.weights import resolve
    from maskbridge.backend.project import read_project
    from maskbridge.backend.serving_model import model_version
    from maskbridge.backend.settings import ServerSettings

    settings = ServerSettings(**task["settings"])
    model = MaskRCNN(task["start"], builder=settings.builder, device=settings.device, progress=False)
    found = read_project(
        int(task["project"]), settings, on_photo=lambda done, total: say({"said": f"photo {done} of {total} fetched"})
    )
    photos = in_the_models_words(found, class_choices(model.class_names))
    if settings.training_segment_boxes:
        photos = finished(with_masks(photos, model), lambda done: say({"said": f"photo {done} has masks for its boxes"}))
    kept = usable(photos, photos.class_names)
    for reason, count in kept.reasons().items():
        say({"said": f"labels left out: {count} x {reason}", "keep": True})
    part, validation = photos.split(settings.training_validation)
    if not validation.objects or not part.objects:  # too few to keep some away
        part = validation = photos
        say({"said": f"{len(photos)} photos are too few to keep some to measure with: measured on all", "keep": True})

    say({"said": "measuring the model that is there"})
    before = finished(evaluate(model, validation, class_names=kept.class_names)).main.numbers["AP"]

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


def in_the_models_words(photos: LabelledPhotos, classes: list[str]) -> LabelledPhotos:
    """Labelled photos whose labels are called as the model calls what they mean, so that it keeps what it knows.

    Only a label that is a class in other letters is renamed: "Person" to "person".
    """
    folded = {name.casefold(): name for name in classes}
    known = [folded.get(name.casefold(), name) for name in photos.class_names]
    names = tuple(known) if len(set(known)) == len(known) else photos.class_names
    kept = tuple(replace(photo, class_names=names) for photo in photos)
    return replace(photos, photos=kept, class_names=names)


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
