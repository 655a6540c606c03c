"""``finetune``: trains new weights on the labels of a field."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from maskbridge.adapter.extras import needed
from maskbridge.plugin.finetune_request import FinetuneRequest
from maskbridge.plugin.operators import form, running

if TYPE_CHECKING:
    from maskbridge.plugin.jobs import Progress, Report


class Finetune(foo.Operator):
    """Trains on a dataset, a view or a selection; see `FinetuneRequest` for its parameters."""

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
            inputs.view("none", types.Warning(label="This dataset has no labels to learn from (Detections or Polylines)"))
            return types.Property(inputs, view=types.View(label="Fine-tune Mask R-CNN"))
        form.target(ctx, inputs)
        choices = types.Dropdown()
        for name in fields:
            choices.add_choice(name, label=name)
        inputs.enum("label_field", choices.values(), default=fields[0], label="Labels to learn from", view=choices)
        form.weights(ctx, inputs)
        name = ctx.params.get("label_field", fields[0])
        if name in fields:
            holds = ctx.dataset.get_field(name).document_type._LABEL_LIST_FIELD
            form.choose_classes(inputs, [label for label in ctx.dataset.distinct(f"{name}.{holds}.label") if label])
        inputs.int("epochs", default=10, label="Epochs", description="How often all photos are seen")
        inputs.int("batch_size", default=2, label="Batch size")
        inputs.float("learning_rate", default=1e-4, label="Learning rate")
        inputs.float("validation", default=0.1, label="Kept to measure with", description="Part of the photos, 0 to 0.9")
        inputs.str("name", label="Name of the new weights", description="Dataset, field and time by default")
        form.show_problems(inputs, FinetuneRequest.problems_of({"label_field": fields[0], **ctx.params}))
        return types.Property(inputs, view=types.View(label="Fine-tune Mask R-CNN"))

    def execute(self, ctx: Any) -> Iterator[Any]:
        known = FinetuneRequest.__dataclass_fields__
        params = {**ctx.params, "weights": form.chosen_weights(ctx.params)}
        request = FinetuneRequest.from_options(**{name: value for name, value in params.items() if name in known})
        return running.in_app(ctx, _job(ctx.target_view(), request), request.label_field)

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
            label_field: the labels to learn from.
            delegate: whether the run is queued for ``fiftyone delegated launch`` instead.
            progress: whether a bar is shown.
            **options: the other attributes of `FinetuneRequest`.

        Returns:
            the report as a dict; with ``delegate`` what FiftyOne returns for a queued run.

        Raises:
            SettingsError: an option has a wrong name or value.
            DataError: no label can be used.
        """
        request = FinetuneRequest.from_options(label_field=label_field, **options)
        if delegate:
            ctx = {"view": samples.view(), "dataset": samples._root_dataset}
            params = {**options, "label_field": label_field, "view_target": "CURRENT_VIEW"}
            return foo.execute_operator(self.uri, ctx, params=params, request_delegation=True)
        return running.in_script(_job(samples, request), progress=progress)


def _job(samples: fo.core.collections.SampleCollection, request: FinetuneRequest) -> Generator[Progress, None, Report]:
    with needed("train"):
        from maskbridge.plugin.finetuning import finetune
    return (yield from finetune(samples, request))
