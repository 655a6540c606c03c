"""``segment_instances``: finds objects in photos and writes their masks into a field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.plugin.operators import form, running
from maskbridge.plugin.requests import SegmentRequest


class SegmentInstances(foo.Operator):
    """Finds objects in the photos of a dataset, a view or a selection; see `SegmentRequest` for its parameters."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_instances",
            label="Mask R-CNN: segment instances",
            description="Find objects in photos and write their masks into a field",
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
        form.show_problems(inputs, SegmentRequest.problems_of(ctx.params))
        return types.Property(inputs, view=types.View(label="Segment instances"))

    def execute(self, ctx: Any) -> Iterator[Any]:
        request = SegmentRequest.from_params({**ctx.params, "weights": form.chosen_weights(ctx.params)})

        from maskbridge.plugin.segmenting import segment

        return running.in_app(ctx, segment(ctx.target_view(), request), request.label_field)

    def __call__(
        self,
        samples: fo.core.collections.SampleCollection,
        label_field: str = "instances",
        *,
        delegate: bool = False,
        progress: bool = True,
        **options: Any,
    ) -> Any:
        """Runs from a script, with the same parameters, errors and report as in the App.

        Args:
            samples: a dataset or view.
            label_field: where the labels go.
            delegate: whether the run is queued for ``fiftyone delegated launch`` instead.
            progress: whether a bar is shown.
            **options: the other attributes of `SegmentRequest`.

        Returns:
            the report as a dict; with ``delegate`` what FiftyOne returns for a queued run.

        Raises:
            SettingsError: an option has a wrong name or value, or does not fit the dataset.
        """
        request = SegmentRequest.from_options(label_field=label_field, **options)
        if delegate:
            ctx = {"view": samples.view(), "dataset": samples._root_dataset}
            params = request.to_dict() | {"view_target": "CURRENT_VIEW"}
            return foo.execute_operator(self.uri, ctx, params=params, request_delegation=True)
        from maskbridge.plugin.segmenting import segment

        return running.in_script(segment(samples, request), progress=progress)


def _field(ctx: Any, inputs: types.Object) -> None:
    name = ctx.params.get("label_field") or "instances"
    kind = fo.Polylines if ctx.params.get("masks") == "polylines" else fo.Detections
    fields = form.label_fields(ctx.dataset, kind)
    inputs.str("label_field", default="instances", label="Label field", view=form.autocomplete(fields))
    if name not in ctx.dataset.get_field_schema():
        return
    if name not in fields:
        warning = f"{name!r} exists and holds something else: choose another field"
        inputs.view("field_warning", types.Warning(label=warning))
        form.show_problems(inputs, {"label_field": warning})
        return
    existing = types.RadioGroup()
    existing.add_choice("replace", label="Replace its labels")
    existing.add_choice("skip", label="Only samples without it (goes on where a broken run stopped)")
    existing.add_choice("stop", label="Stop if there are any")
    label = f"The field {name!r} exists already"
    inputs.enum("existing", existing.values(), default="replace", label=label, view=existing)


def _more(ctx: Any, inputs: types.Object) -> None:
    inputs.bool("more", default=False, label="More settings", view=types.SwitchView())
    if not ctx.params.get("more"):
        return
    inputs.float("mask_threshold", default=0.5, label="Mask threshold", description="0 to 1")
    inputs.int("max_detections", default=100, label="Most objects in a photo")
    inputs.int("batch_size", default=1, label="Batch size", description="Photos run together; 1 is best on a CPU")
    inputs.int("num_workers", default=0, label="Workers", description="Processes that read photos")
    inputs.str("device", label="Device", description="cpu, cuda:0, …; a GPU where there is one by default")
