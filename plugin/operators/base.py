"""A long job as an operator: run in the App, delegated, or called from a script, each with one and the same request."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.operators as foo

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.plugin.operators import form
from maskbridge.plugin.requests.base import RunRequest

if TYPE_CHECKING:
    from maskbridge.plugin.jobs.base import Progress, Report

logger = logging.getLogger(__name__)


class LongOperator(foo.Operator):
    """Starts a long job over a dataset, a view or a selection.

    Attributes:
        request_type: the kind of its request, whose fields are the operator's parameters.
    """

    request_type: ClassVar[type[RunRequest]]

    def job(self, samples: fo.core.collections.SampleCollection, request: Any) -> Generator[Progress, None, Report]:
        """Creates the job without starting it. Imports torch."""
        raise NotImplementedError

    def execute(self, ctx: Any) -> Iterator[Any]:
        request = self.request_type.from_params({**ctx.params, "weights": form.chosen_weights(ctx.params)})
        return _in_app(ctx, self.job(ctx.target_view(), request), request.written_field)

    def __call__(
        self,
        samples: fo.core.collections.SampleCollection,
        label_field: str | None = None,
        *,
        delegate: bool = False,
        progress: bool = True,
        **options: Any,
    ) -> Any:
        """Runs from a script, with the same parameters, errors and report as in the App.

        Args:
            samples: a dataset or view.
            label_field: the first attribute of the request.
            delegate: whether to queue the run for ``fiftyone delegated launch`` instead.
            progress: whether to show a progress bar.
            **options: the other attributes of the request.

        Returns:
            the report as a dict; with ``delegate`` what FiftyOne returns for a queued run.

        Raises:
            SettingsError: an option is unknown or invalid, or does not fit the dataset.
            DataError: no label can be used.
        """
        request = self.request_type.from_options(label_field=label_field, **options)
        if delegate:
            ctx = {"view": samples.view(), "dataset": samples._root_dataset}
            params = request.to_dict() | {"view_target": "CURRENT_VIEW"}
            return foo.execute_operator(self.uri, ctx, params=params, request_delegation=True)
        return _in_script(self.job(samples, request), progress=progress)


def _in_app(ctx: Any, job: Generator[Any, None, Any], field: str) -> Iterator[Any]:
    """Runs a job immediately or delegated; yields what the App shows.

    The App handles no exception after streaming has started, so errors are shown as a notification and end the run. A
    delegated run raises them: the Runs page shows it as failed.
    """
    try:
        report = yield from _with_progress(ctx, job)
    except Exception as error:
        if ctx.delegated:
            raise
        if not isinstance(error, MaskbridgeError):
            logger.exception("a run of maskbridge failed")
        yield ctx.ops.notify(f"The run failed: {error}", variant="error")
        return
    if not ctx.delegated:
        # Before the notification, so that who reads it looks at the new labels.
        yield ctx.ops.reload_dataset()
        yield ctx.ops.set_active_fields([*(ctx.active_fields or []), field])
    yield ctx.ops.notify(str(report), variant="warning" if report.failures or report.state != "completed" else "success")


def _with_progress(ctx: Any, job: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
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


def _in_script(job: Generator[Any, None, Any], *, progress: bool) -> dict[str, Any]:
    """Runs a job to its end with a progress bar; returns its report."""
    step = next(job)
    with fou.ProgressBar(total=step.total, progress=progress) as bar:
        while True:
            bar.set_iteration(step.done)
            try:
                step = next(job)
            except StopIteration as end:
                return end.value.to_dict()
