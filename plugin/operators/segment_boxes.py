"""``segment_boxes``: masks for the boxes in a label field."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.plugin.operators import form
from maskbridge.plugin.operators.base import LongOperator
from maskbridge.plugin.requests.segment_boxes import SegmentBoxesRequest

if TYPE_CHECKING:
    from maskbridge.plugin.jobs.base import Progress, Report


class SegmentBoxes(LongOperator):
    """Fills in the masks of detections that have boxes only; see `SegmentBoxesRequest` for its parameters."""

    request_type = SegmentBoxesRequest

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="segment_boxes",
            label="Mask R-CNN: masks for boxes",
            description="Fill in instance masks for boxes that annotators drew or another detector predicted",
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
        form.show_loss(inputs, form.chosen_weights(ctx.params) or form.first_weights())
        choices = types.Dropdown()
        for name in fields:
            choices.add_choice(name, label=name)
        inputs.enum("label_field", choices.values(), default=fields[0], label="Boxes", view=choices)
        inputs.str("new_field", label="New field", description="Field for the labels with masks; empty for the same field")
        inputs.bool("only_missing", default=True, label="Keep existing masks")
        inputs.float(
            "mask_threshold",
            default=0.5,
            label="Mask threshold",
            description="Pixels of at least this probability are in a mask, 0 to 1",
        )
        form.show_problems(inputs, SegmentBoxesRequest.problems_of({"label_field": fields[0], **ctx.params}))
        return types.Property(inputs, view=types.View(label="Masks for boxes"))

    def job(
        self, samples: fo.core.collections.SampleCollection, request: SegmentBoxesRequest
    ) -> Generator[Progress, None, Report]:
        from maskbridge.plugin.jobs.segment_boxes import segment_boxes

        return segment_boxes(samples, request)
