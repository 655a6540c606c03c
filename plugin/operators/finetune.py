"""``finetune``: trains new weights on the labels of a field."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.adapter.optional_dependencies import requires
from maskbridge.plugin.operators import form
from maskbridge.plugin.operators.base import LongOperator
from maskbridge.plugin.requests.finetune import FinetuneRequest

if TYPE_CHECKING:
    from maskbridge.plugin.jobs.base import Progress, Report


class Finetune(LongOperator):
    """Trains on a dataset, a view or a selection; see `FinetuneRequest` for its parameters."""

    request_type = FinetuneRequest

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="finetune",
            label="Mask R-CNN: fine-tune on labels",
            description="Train new weights on the masks of a field",
            icon=form.ICON,
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            default_choice_to_delegated=True,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        fields = form.label_fields(ctx.dataset, fo.Detections, fo.Polylines)
        if not fields:
            inputs.view("none", types.Warning(label="This dataset has no labels to train on (Detections or Polylines)"))
            return types.Property(inputs, view=types.View(label="Fine-tune Mask R-CNN"))
        form.target(ctx, inputs)
        choices = types.Dropdown()
        for name in fields:
            choices.add_choice(name, label=name)
        inputs.enum("label_field", choices.values(), default=fields[0], label="Labels to train on", view=choices)
        form.weights(ctx, inputs)
        name = ctx.params.get("label_field", fields[0])
        if name in fields:
            list_field = ctx.dataset.get_field(name).document_type._LABEL_LIST_FIELD
            form.choose_classes(inputs, [label for label in ctx.dataset.distinct(f"{name}.{list_field}.label") if label])
        epochs, batch, rate, part = (
            form.default(FinetuneRequest, name) for name in ("epochs", "batch_size", "learning_rate", "validation")
        )
        inputs.int("epochs", default=epochs, label="Epochs", description="Passes over all images")
        inputs.int("batch_size", default=batch, label="Batch size", description="Images in a step")
        inputs.float("learning_rate", default=rate, label="Learning rate")
        inputs.float(
            "validation",
            default=part,
            label="Validation",
            description="Fraction of the images used for validation, 0 to 0.9",
        )
        inputs.str("name", label="Name of the new weights", description="By default dataset, field and time")
        form.show_problems(inputs, FinetuneRequest.problems_of({"label_field": fields[0], **ctx.params}))
        return types.Property(inputs, view=types.View(label="Fine-tune Mask R-CNN"))

    def job(
        self, samples: fo.core.collections.SampleCollection, request: FinetuneRequest
    ) -> Generator[Progress, None, Report]:
        with requires("train"):
            from maskbridge.plugin.jobs.finetune import finetune
        return finetune(samples, request)
