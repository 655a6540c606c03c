"""Shared by all long jobs: progress, a report, a run stored on the dataset, and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo

from maskbridge.adapter import MaskbridgeError, MaskRCNN
from maskbridge.plugin.jobs import records
from maskbridge.plugin.model import Failure
from maskbridge.plugin.requests.base import RunRequest

HEARTBEAT = 5.0
"""Seconds between two updates of a run in the database."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: images (or frames, or steps) done out of a total, objects detected, images failed; or a message."""

    done: int
    total: int
    objects: int
    failed: int
    message: str = ""

    def __str__(self) -> str:
        if self.message:
            return self.message
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total}: {self.objects} objects{failed}"


@dataclass(frozen=True)
class Report:
    """The result of a run: its key on the dataset, ``completed`` or ``stopped``, and its counts."""

    run_key: str
    state: str
    done: int
    total: int
    objects: int
    seconds: float
    failures: tuple[Failure, ...]
    message: str = ""

    def __str__(self) -> str:
        text = f"{self.state}: {self.message or f'{self.objects} objects in {self.done} of {self.total}'}"
        return text + (f", {len(self.failures)} failed (describe_run shows why)" if self.failures else "")

    def to_dict(self) -> dict[str, Any]:
        """As an operator returns it: without the failures themselves, which are stored with the run."""
        values = {name: getattr(self, name) for name in ("run_key", "state", "done", "total", "objects")}
        return values | {"failed": len(self.failures), "seconds": round(self.seconds, 1)}


@dataclass
class Tally:
    """The counts and the message of a job while it works, and the results that are stored with the run at its end."""

    done: int = 0
    objects: int = 0
    failures: list[Failure] = field(default_factory=list)
    message: str = ""
    results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it is registered.

    Attributes:
        dataset: the dataset that it is stored on.
        operator: its name.
        request: its parameters.
        field: the field that is written or, for training, read.
        model: the model.
        total: images, frames or steps to do.
        skipped: samples that are skipped, since they have labels.
    """

    dataset: fo.Dataset
    operator: str
    request: RunRequest
    field: str
    model: MaskRCNN
    total: int
    skipped: int = 0

    def config(self) -> dict[str, Any]:
        """The values that are stored with the run from its start."""
        return {
            "field": self.field,
            "builder": self.model.builder,
            "weights": self.model.weights_name,
            "fingerprint": self.model.fingerprint,
            "engine": f"{self.model.engine.name} in {self.model.engine.precision}",
            "total": self.total,
            "skipped": self.skipped,
        }


def execute(run: Run, work: Callable[[Tally], Iterator[None]]) -> Generator[Progress, None, Report]:
    """Works through a job that yields after each batch it has written, and stores the run on the dataset.

    The run is registered before the first batch and ended with its counts, also when it is stopped, closed or fails. One
    that is killed stays ``running``, with the counts of its last heartbeat.

    Raises:
        MaskbridgeError: the dataset was deleted meanwhile.
    """
    dataset = run.dataset
    key = records.start(dataset, run.operator, run.request.to_dict(), **run.config())
    tally, state, started, last_heartbeat = Tally(), "failed", time.monotonic(), time.monotonic()
    try:
        yield Progress(0, run.total, 0, 0)
        for _ in work(tally):
            yield Progress(tally.done, run.total, tally.objects, len(tally.failures), tally.message)
            if records.is_stopped(dataset, key):
                state = "stopped"
                break
            if time.monotonic() - last_heartbeat > HEARTBEAT:
                records.update(dataset, key, done=tally.done, objects=tally.objects)
                last_heartbeat = time.monotonic()
        else:
            state = "completed"
    except GeneratorExit:
        state = "stopped"
        raise
    except Exception as error:
        if is_deleted(dataset):
            raise MaskbridgeError("the dataset was deleted while the run worked on it") from error
        raise
    finally:
        if not is_deleted(dataset):
            records.finish(dataset, key, state, tally.failures, done=tally.done, objects=tally.objects, **tally.results)
    return Report(
        run_key=key,
        state=state,
        done=tally.done,
        total=run.total,
        objects=tally.objects,
        seconds=time.monotonic() - started,
        failures=tuple(tally.failures),
        message=tally.message,
    )


def is_deleted(dataset: fo.Dataset) -> bool:
    """Whether the dataset was deleted, here or in another process.

    Example:
        >>> dataset = fo.Dataset()
        >>> is_deleted(dataset)
        False
        >>> dataset.delete()
        >>> is_deleted(dataset)
        True
    """
    return dataset.deleted or dataset.name not in fo.list_datasets()
