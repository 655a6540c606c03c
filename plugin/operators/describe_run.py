"""``describe_run``: how a field was computed, the counts of the run, and which samples failed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.adapter.errors import SettingsError
from maskbridge.plugin.jobs import records
from maskbridge.plugin.operators import form


class DescribeRun(foo.Operator):
    """Shows a run's weights, settings, counts and failures, and offers the view of the samples that failed."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="describe_run",
            label="Mask R-CNN: describe a run",
            description="Show how a field was computed: weights, settings, counts, time, failures",
            icon=form.ICON,
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        keys = records.keys(ctx.dataset)
        if not keys:
            inputs.view("none", types.Notice(label="This dataset has no runs of Mask R-CNN"))
            return types.Property(inputs, view=types.View(label="Describe a run"))
        choices = types.Dropdown()
        for key in keys:
            choices.add_choice(key, label=key)
        inputs.enum("run_key", choices.values(), default=keys[0], label="Run", view=choices)
        run = records.describe(ctx.dataset, ctx.params.get("run_key") or keys[0])
        inputs.md(as_markdown(run), name="description")
        if failed := _failed_ids(run):
            inputs.bool("show_failed", default=False, label=f"Show the {len(failed)} samples that failed")
        return types.Property(inputs, view=types.View(label="Describe a run"))

    def execute(self, ctx: Any) -> None:
        if ctx.params.get("run_key") and ctx.params.get("show_failed"):
            run = self(ctx.dataset, ctx.params["run_key"])
            ctx.ops.set_view(view=failed_samples(ctx.dataset, run))

    def __call__(self, dataset: fo.core.collections.SampleCollection, run_key: str | None = None) -> dict[str, Any]:
        """Everything that is stored of a run of a dataset (or a view's); by default of the newest.

        Raises:
            SettingsError: no such run.
        """
        root = dataset._root_dataset
        if run_key is None:
            run_key = next(iter(records.keys(root)), None)
        if run_key is None:
            raise SettingsError(f"{root.name!r} has no runs of Mask R-CNN")
        return records.describe(root, run_key)


def failed_samples(dataset: fo.Dataset, run: dict[str, Any]) -> fo.DatasetView:
    """The view of the samples that failed in a run.

    Example:
        >>> dataset = fo.Dataset()
        >>> len(failed_samples(dataset, {"failures": []}))
        0
    """
    return dataset.select(_failed_ids(run), ordered=True)


def _failed_ids(run: dict[str, Any]) -> list[str]:
    """Each once: a run of ``finetune`` has a failure for each label."""
    ids = dict.fromkeys(failure["sample_id"] for failure in run.get("failures") or ())
    return [sample_id for sample_id in ids if sample_id is not None]


def as_markdown(run: dict[str, Any]) -> str:
    """A run as Markdown."""
    ended = run.get("ended") or run.get("heartbeat") or time.time()
    counts = f"{run.get('done', 0)} of {run['total']} done, {run['skipped']} skipped, {run.get('failed', 0)} failed"
    rows = {
        "operator": run["operator"],
        "state": run["state"],
        "field": f"`{run['field']}`",
        "weights": f"{run['weights']} ({run['builder']}, fingerprint `{run['fingerprint']}`)",
        "engine": run.get("engine", "torch"),
        "images": counts,
        "objects": run.get("objects", 0),
        "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["started"])),
        "time": f"{ended - run['started']:.0f} s",
    }
    rows |= {name: value for name, value in run["request"].items() if value is not None and name not in rows}
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    reasons = Counter(failure["reason"] for failure in run.get("failures", []))
    return "\n".join([*lines, "", *(f"- {count} failed: {reason}" for reason, count in reasons.most_common(10))])
