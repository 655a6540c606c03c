"""``stop_run``: stops a run after its current batch, in whatever process it runs."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.plugin.jobs import records
from maskbridge.plugin.operators import form


class StopRun(foo.Operator):
    """Stops a run; the labels that it has written are kept."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="stop_run",
            label="Mask R-CNN: stop a run",
            description="Stop a run after its current batch; the labels that it has written are kept",
            icon=form.ICON,
            dynamic=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        running = records.keys(ctx.dataset, state="running")
        if not running:
            inputs.view("none", types.Notice(label="No run is in progress on this dataset"))
        else:
            choices = types.RadioGroup()
            for key in running:
                choices.add_choice(key, label=key)
            inputs.enum("run_key", choices.values(), default=running[0], required=True, label="Run", view=choices)
        return types.Property(inputs, view=types.View(label="Stop a run"))

    def execute(self, ctx: Any) -> None:
        if ctx.params.get("run_key"):
            self(ctx.dataset, ctx.params["run_key"])
            ctx.ops.notify("The run stops after its current batch", variant="info")

    def __call__(self, dataset: fo.Dataset, run_key: str) -> None:
        """Requests that a run of a dataset stops.

        Raises:
            SettingsError: no such run.
        """
        records.describe(dataset, run_key)
        records.request_stop(dataset, run_key)
