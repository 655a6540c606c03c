"""``segment_instances``: detects objects in images and writes their masks into a field."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, get_args

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.plugin.operators import form
from maskbridge.plugin.operators.base import LongOperator
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest

if TYPE_CHECKING:
    from maskbridge.plugin.jobs.base import Progress, Report


class SegmentInstances(LongOperator):
    """Detects objects in a dataset, a view or a selection; see `SegmentInstancesRequest` for its parameters."""

    request_type = SegmentInstancesRequest

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_instances",
            label="Mask R-CNN: segment instances",
            description="Detect objects in images and write their masks into a field",
            icon=form.ICON,
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
        )

    def resolve_placement(self, ctx: Any) -> types.Placement:
        button = types.Button(label="Segment instances with Mask R-CNN", icon=form.ICON, prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        form.target(ctx, inputs)
        form.weights(ctx, inputs)
        form.show_loss(inputs, form.chosen_weights(ctx.params) or form.first_weights())
        _field(ctx, inputs)
        form.choose_classes(inputs, form.class_choices(form.chosen_weights(ctx.params) or form.first_weights()))
        inputs.float("confidence", default=0.5, label="Confidence", description="Objects with a score above it, 0 to 1")
        masks = types.RadioGroup(orientation="horizontal")
        masks.add_choice("database", label="In the database")
        masks.add_choice("folder", label="PNGs in a folder")
        masks.add_choice("polylines", label="As polylines instead")
        inputs.enum("masks", masks.values(), default="database", label="Masks", view=masks)
        if ctx.params.get("masks") == "folder":
            inputs.str("mask_folder", required=True, label="Folder", description="An absolute path on the server")
        _more(ctx, inputs)
        form.show_problems(inputs, SegmentInstancesRequest.problems_of(ctx.params))
        return types.Property(inputs, view=types.View(label="Segment instances"))

    def job(
        self, samples: fo.core.collections.SampleCollection, request: SegmentInstancesRequest
    ) -> Generator[Progress, None, Report]:
        from maskbridge.plugin.jobs.segment_instances import segment_instances

        return segment_instances(samples, request)


def _field(ctx: Any, inputs: types.Object) -> None:
    name = ctx.params.get("label_field") or "instances"
    field_type = fo.Polylines if ctx.params.get("masks") == "polylines" else fo.Detections
    fields = form.label_fields(ctx.dataset, field_type)
    inputs.str("label_field", default="instances", label="Label field", view=form.autocomplete(fields))
    if name not in ctx.dataset.get_field_schema():
        return
    if name not in fields:
        warning = f"{name!r} exists and holds another type: choose another field"
        inputs.view("field_warning", types.Warning(label=warning))
        form.show_problems(inputs, {"label_field": warning})
        return
    existing = types.RadioGroup()
    existing.add_choice("replace", label="Replace its labels")
    existing.add_choice("skip", label="Only samples without it (resumes an interrupted run)")
    existing.add_choice("stop", label="Stop if it has labels")
    label = f"The field {name!r} exists already"
    inputs.enum("existing", existing.values(), default="replace", label=label, view=existing)


def _more(ctx: Any, inputs: types.Object) -> None:
    inputs.bool("more", default=False, label="More settings", view=types.SwitchView())
    if not ctx.params.get("more"):
        return
    inputs.str("class_confidence", label="Confidence of single classes", description="Such as person=0.6,dog=0.4")
    inputs.float(
        "mask_threshold",
        default=0.5,
        label="Mask threshold",
        description="Pixels of at least this probability are in a mask, 0 to 1",
    )
    inputs.int("max_detections", default=100, label="Maximum number of objects in an image")
    inputs.int("batch_size", default=1, label="Batch size", description="Images in a batch; 1 is best on a CPU")
    inputs.int("num_workers", default=0, label="Workers", description="Processes that read images")
    inputs.int("streams", default=1, label="Streams", description="Images at once on a CPU; 2 or more for small networks")
    inputs.str("device", label="Device", description="cpu, cuda, cuda:1, …; by default a GPU if there is one")
    for name, default, choices in (("engine", "torch", EngineName), ("precision", "auto", Precision)):
        dropdown = types.Dropdown()
        for choice in get_args(choices):
            dropdown.add_choice(choice, label=choice)
        inputs.enum(name, dropdown.values(), default=default, label=name.capitalize(), view=dropdown)
