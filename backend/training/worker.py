"""The process of a training run: reads a project's annotations, writes a weights file, and measures mask mAP.

`maskbridge.backend.training.trainer.Trainer` starts it with ``python -m maskbridge.backend.training.worker``. It reads its
task as JSON from the first line of standard input (settings hold tokens, which must not be in a command line), and ends at
once when that is closed: its server has ended then. It writes messages as JSON, one per line, to standard output:

- ``message``: text, with ``progress`` (0 to 1) and ``loss`` during training, and ``important`` if it must be logged
- ``done``: at the end, the new model version and the mask mAP before and after
- ``error``: why the training run failed
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.web.logging_setup import summary

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset


IMAGES_SUFFIX = "-images"
"""What the folder of a training run's images has in its name beyond that of the training run."""


def run(task: Mapping[str, Any], folder: Path | None, send: Callable[[Mapping[str, Any]], None]) -> None:
    """Runs one training run.

    Args:
        task: ``settings`` of the server, ``project`` (its number), ``start`` (weights), ``out`` (a folder), ``target`` (the
            weights file to write).
        folder: for the project's images; None for `maskbridge.labelstudio.project.image_folder`.
        send: called with each message.

    Raises:
        MaskbridgeError: the project cannot be read, no label can be used, or training fails.
    """
    from maskbridge.adapter.datasets.labeled_dataset import usable
    from maskbridge.adapter.evaluation.measure import evaluate
    from maskbridge.adapter.long_jobs import run_to_end
    from maskbridge.adapter.mask_rcnn import MaskRCNN
    from maskbridge.adapter.settings import class_choices
    from maskbridge.adapter.training.box_masks import with_masks
    from maskbridge.adapter.training.epoch_saver import Step
    from maskbridge.adapter.training.run import train
    from maskbridge.adapter.training.settings import TrainingSettings
    from maskbridge.adapter.weights.catalog import read_metadata
    from maskbridge.adapter.weights.names import resolve
    from maskbridge.backend.settings import ServerSettings
    from maskbridge.labelstudio.model_version import model_version
    from maskbridge.labelstudio.project import read_project

    settings = ServerSettings(**task["settings"])
    weights = settings.own_weights() if task["start"] == settings.weights else {"weights": task["start"]}
    model = MaskRCNN(**weights, device=settings.device, precision="float32", progress=False)
    labeled = read_project(
        int(task["project"]),
        settings,
        folder=folder,
        on_image=lambda done, total: send({"message": f"image {done} of {total} fetched"}),
    )
    images = with_model_names(labeled, class_choices(model.class_names))
    if settings.training_segment_boxes:
        images = run_to_end(
            with_masks(images, model), lambda done: send({"message": f"masks predicted for the boxes of image {done}"})
        )
    usable_images = usable(images, images.class_names)
    for reason, count in usable_images.reasons().items():
        send({"message": f"labels skipped: {count} x {reason}", "important": True})
    for image in images.skipped_images:
        send({"message": f"image skipped: {image.name} ({image.labels} labels): {image.reason}", "important": True})
    training, validation = images.split(settings.training_validation)
    if not validation.objects or not training.objects:  # too few images for a split
        training = validation = images
        text = f"{len(images)} images are too few for a validation split: the model is evaluated on all of them"
        send({"message": text, "important": True})

    send({"message": "evaluating the current model"})
    before = run_to_end(evaluate(model, validation, class_names=usable_images.class_names)).main.numbers["AP"]

    def on_step(step: Step) -> None:
        loss = {"loss": step.losses["loss"]} if "loss" in step.losses else {}
        send({"message": str(step), "progress": step.done / max(step.total, 1), **loss})

    report = train(
        model,
        training,
        task["out"],
        TrainingSettings(
            epochs=settings.training_epochs,
            batch_size=settings.training_batch_size,
            learning_rate=settings.training_learning_rate,
        ),
        class_names=usable_images.class_names,
        validation=validation,
        progress=False,
        on_step=on_step,
    )
    trained = MaskRCNN(replace(resolve(report.best), name=Path(task["target"]).name), device="cpu")
    after = float(report.history[report.best_epoch - 1]["mask_mAP"])
    version = model_version(trained)
    metadata = {"project": str(task["project"]), "model_version": version, "mask_mAP": f"{after:.4f}"}
    trained.save(task["target"], extra=read_metadata(report.best) | metadata)
    send({"done": {"version": version, "before": before, "after": after}})


def with_model_names(images: LabeledDataset, classes: list[str]) -> LabeledDataset:
    """Renames labels to the model's class names where they differ only in case, such as "Person" to "person".

    Training then starts from the weights that the model has for these classes.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> person = Instances((2, 3), [[0, 0, 3, 2]], [1], ("__background__", "Person"), [None])
        >>> with_model_names(labeled_images([("a.jpg", person)]), ["__background__", "person"]).class_names
        ('__background__', 'person')
    """
    folded = {name.casefold(): name for name in classes}
    renamed = [folded.get(name.casefold(), name) for name in images.class_names]
    names = tuple(renamed) if len(set(renamed)) == len(renamed) else images.class_names
    labeled_images = tuple(replace(image, class_names=names) for image in images)
    return replace(images, images=labeled_images, class_names=names)


@contextlib.contextmanager
def images_folder(task: Mapping[str, Any]) -> Iterator[Path | None]:
    """A folder for the images of one training run; None if images are kept.

    It is locked, so that another server that starts does not take it for one that was left. The server deletes it.
    """
    from filelock import FileLock

    if task["settings"]["keep_training_images"]:
        yield None
        return
    folder = Path(task["out"] + IMAGES_SUFFIX)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder / ".lock"):
        yield folder


def end_with_server() -> None:
    """Waits for the end of standard input, and kills this process and its children."""
    while os.read(0, 1 << 16):
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Reads the task and runs it; an exception is sent as a message with ``error``."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_server, name="server", daemon=True).start()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log

    def send(message: Mapping[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")

    try:
        with images_folder(task) as folder:
            run(task, folder, send)
    except BrokenPipeError:
        sys.exit(1)  # the server has ended
    except Exception as error:
        send({"error": str(error) if isinstance(error, MaskbridgeError) else summary(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
