"""A training run as an iterator over its steps, as operators and other long jobs iterate."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Any

from maskbridge.adapter.training.epoch_saver import Step, StoppedError
from maskbridge.adapter.training.run import TrainingReport, train


def train_steps(*args: Any, **options: Any) -> Generator[Step, None, TrainingReport]:
    """`train` as an iterator over its steps that ends in the report; closing it stops the run.

    The run has a thread of its own that never waits: steps that were not consumed in time are skipped.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> next(train_steps(MaskRCNN("bundled"), labeled_images([]), "runs/first", class_names=["person"]))
        Traceback (most recent call last):
        maskbridge.adapter.datasets.labeled_dataset.DataError: no label can be used in 0 images: they have none
    """
    steps: queue.Queue[Step | None] = queue.Queue()
    closed = threading.Event()
    result: list[TrainingReport] = []
    failure: list[BaseException] = []

    def on_step(step: Step) -> None:
        if closed.is_set():
            raise StoppedError("the training run was stopped; started again it resumes after its last complete epoch")
        steps.put(step)

    def run() -> None:
        try:
            result.append(train(*args, **options, progress=False, on_step=on_step))
        except BaseException as error:
            failure.append(error)
        finally:
            steps.put(None)

    thread = threading.Thread(target=run, name="training", daemon=True)
    thread.start()
    try:
        while (step := steps.get()) is not None:
            while not steps.empty():
                newer = steps.get()
                if newer is None:
                    steps.put(None)
                    break
                step = newer
            yield step
    finally:
        closed.set()
        thread.join()
    if failure:
        raise failure[0]
    return result[0]
