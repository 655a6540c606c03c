"""``segment_boxes``: masks for the boxes in a label field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.plugin.operators import form, running


class SegmentBoxes(foo.Operator):
    """Fills in the masks of detections that have boxes only; see `maskbridge.plugin.boxes.BoxesRequest`."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_boxes",
            label="Mask R-CNN: masks for boxes",
            description="Fill in instance masks for boxes that people drew or another detector found",
            icon=form.ICON,
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        fields = form.label_fields(ctx.dataset, fo.Detections)
        if not fields:
            inputs.view("none", types.Warning(label="This dataset has no field with boxes (Detections)"))
            return types.Property(inputs, view=types.View(label="Masks for boxes"))
        form.target(ctx, inputs)
        form.weights(ctx, inputs)
        choices = types.Dropdown()
        for name in fields:
            choices.add_choice(name, label=name)
        inputs.enum("label_field", choices.values(), default=fields[0], label="Boxes", view=choices)
        inputs.str("new_field", label="New field", description="Where the labels with masks go; empty for the same field")
        inputs.bool("only_missing", default=True, label="Leave masks that are there as they are")
        inputs.float("mask_threshold", default=0.5, label="Mask threshold", description="0 to 1")
        threshold = ctx.params.get("mask_threshold")
        if threshold is not None and not 0 <= threshold <= 1:
            form.show_problems(inputs, {"mask_threshold": f"a number from 0 to 1, not {threshold}"})
        return types.Property(inputs, view=types.View(label="Masks for boxes"))

    def execute(self, ctx: Any) -> Iterator[Any]:
        from maskbridge.plugin.boxes import BoxesRequest, segment_boxes

        names = ("label_field", "new_field", "only_missing", "mask_threshold")
        options = {name: ctx.params.get(name) for name in names}
        request = BoxesRequest.from_options(weights=form.chosen_weights(ctx.params), **options)
        return running.in_app(ctx, segment_boxes(ctx.target_view(), request), request.target)

    def __call__(
        self,
        samples: fo.core.collections.SampleCollection,
        label_field: str,
        *,
        delegate: bool = False,
        progress: bool = True,
        **options: Any,
    ) -> Any:
        """Runs from a script, with the same parameters, errors and report as in the App.

        Args:
            samples: a dataset or view.
            label_field: the detections whose boxes get masks.
            delegate: whether the run is queued for ``fiftyone delegated launch`` instead.
            progress: whether a bar is shown.
            **options: the other attributes of `maskbridge.plugin.boxes.BoxesRequest`.

        Returns:
            the report as a dict; with ``delegate`` what FiftyOne returns for a queued run.

        Raises:
            SettingsError: an option has a wrong name or value, or does not fit the dataset.
        """
        from maskbridge.plugin.boxes import BoxesRequest, segment_boxes

        request = BoxesRequest.from_options(label_field=label_field, **options)
        if delegate:
            ctx = {"view": samples.view(), "dataset": samples._root_dataset}
            params = {**request.__dict__, "view_target": "CURRENT_VIEW"}
            return foo.execute_operator(self.uri, ctx, params=params, request_delegation=True)
        return running.in_script(segment_boxes(samples, request), progress=progress)
