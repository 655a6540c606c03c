"""What all long jobs share: progress, a report, a run kept on the dataset, and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fiftyone as fo

from maskbridge.adapter import MaskbridgeError, MaskRCNN
from maskbridge.plugin import runs
from maskbridge.plugin.model import Failure


@dataclass(frozen=True)
class Progress:
    """How far a run is: photos (or frames, or steps) done out of a total, objects found, photos failed; or what it says."""

    done: int
    total: int
    objects: int
    failed: int
    said: str = ""

    def __str__(self) -> str:
        if self.said:
            return self.said
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total}: {self.objects} objects{failed}"


@dataclass(frozen=True)
class Report:
    """What came of a run: its key on the dataset, ``completed`` or ``stopped``, and how it went."""

    run_key: str
    state: str
    done: int
    total: int
    objects: int
    seconds: float
    failures: tuple[Failure, ...]
    said: str = ""

    def __str__(self) -> str:
        text = f"{self.state}: {self.said or f'{self.objects} objects in {self.done} of {self.total}'}"
        return text + (f", {len(self.failures)} failed (describe_run says why)" if self.failures else "")

    def to_dict(self) -> dict[str, Any]:
        """As an operator returns it: without the failures themselves, which are kept with the run."""
        kept = {name: getattr(self, name) for name in ("run_key", "state", "done", "total", "objects")}
        return kept | {"failed": len(self.failures), "seconds": round(self.seconds, 1)}


@dataclass
class Tally:
    """What a job counts while it works, what it says of itself, and what is kept with the run in the end."""

    done: int = 0
    objects: int = 0
    failures: list[Failure] = field(default_factory=list)
    said: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def run(
    dataset: fo.Dataset,
    operator: str,
    request: Mapping[str, Any],
    field_name: str,
    model: MaskRCNN,
    total: int,
    skipped: int,
    work: Callable[[Tally], Iterator[None]],
) -> Generator[Progress, None, Report]:
    """Works through a job that yields after each batch it has written, and keeps the run on the dataset.

    The run is registered before the first batch and ended with what came of it, also when it is stopped, closed or fails.
    One that is killed stays ``running``, with what it had done at its last sign of life.

    Raises:
        MaskbridgeError: the dataset was deleted meanwhile.
    """
    facts = {
        "field": field_name,
        "builder": model.builder,
        "weights": model.weights_name,
        "fingerprint": model.fingerprint,
        "total": total,
        "skipped": skipped,
    }
    key = runs.start(dataset, operator, request, **facts)
    tally, state, started, seen = Tally(), "failed", time.monotonic(), time.monotonic()
    try:
        yield Progress(0, total, 0, 0)
        for _ in work(tally):
            yield Progress(tally.done, total, tally.objects, len(tally.failures), tally.said)
            if runs.is_stopped(dataset, key):
                state = "stopped"
                break
            if time.monotonic() - seen > SIGN_OF_LIFE:
                runs.update(dataset, key, done=tally.done, objects=tally.objects)
                seen = time.monotonic()
        else:
            state = "completed"
    except GeneratorExit:
        state = "stopped"
        raise
    except Exception as error:
        if is_gone(dataset):
            raise MaskbridgeError("the dataset was deleted while the run worked on it") from error
        raise
    finally:
        if not is_gone(dataset):
            runs.finish(dataset, key, state, tally.failures, done=tally.done, objects=tally.objects, **tally.facts)
    seconds = time.monotonic() - started
    return Report(key, state, tally.done, total, tally.objects, seconds, tuple(tally.failures), tally.said)


SIGN_OF_LIFE = 5.0
"""Seconds between two updates of a run in the database."""


def is_gone(dataset: fo.Dataset) -> bool:
    """Whether the dataset was deleted, here or in another process."""
    return dataset.deleted or dataset.name not in fo.list_datasets()
