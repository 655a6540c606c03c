"""How a long job is shown: in the App, in the Runs page of a delegated one, and as a bar in a script."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import Any

import fiftyone.core.utils as fou

from maskbridge.adapter.errors import MaskbridgeError

logger = logging.getLogger(__name__)


def in_app(ctx: Any, job: Generator[Any, None, Any], field: str) -> Iterator[Any]:
    """Runs a job for an operator, immediately or delegated; yields what the App is told.

    An exception after streaming began would reach no handler in the App, so errors are told and end the run there. A
    delegated run raises them: the Runs page shows it as failed.
    """
    try:
        report = yield from _shown(ctx, job)
    except Exception as error:
        if ctx.delegated:
            raise
        if not isinstance(error, MaskbridgeError):
            logger.exception("a run of maskbridge failed")
        yield ctx.ops.notify(f"The run failed: {error}", variant="error")
        return
    yield ctx.ops.notify(str(report), variant="warning" if report.failures or report.state != "completed" else "success")
    if not ctx.delegated:
        yield ctx.ops.reload_dataset()
        yield ctx.ops.set_active_fields([*(ctx.active_fields or []), field])


def _shown(ctx: Any, job: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    try:
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                return end.value
            fraction = progress.done / progress.total if progress.total else 1.0
            if ctx.delegated:
                ctx.set_progress(progress=fraction, label=str(progress))
            yield ctx.ops.set_progress(progress=fraction, label=str(progress))
    finally:
        job.close()  # the tab was closed


def in_script(job: Generator[Any, None, Any], *, progress: bool = True) -> dict[str, Any]:
    """Runs a job to its end with a progress bar; returns its report."""
    step = next(job)
    with fou.ProgressBar(total=step.total, progress=progress) as bar:
        while True:
            bar.set_iteration(step.done)
            try:
                step = next(job)
            except StopIteration as end:
                return end.value.to_dict()
