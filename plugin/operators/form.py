"""Parts that the operators' forms share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from maskbridge.adapter.weights.catalog import class_names_of, entries, loss_of, weights_folder
from maskbridge.plugin.requests.base import RunRequest

OTHER_FILE = "another file"
ICON = "/assets/icon.svg"


def target(ctx: Any, inputs: types.Object) -> None:
    """The samples to process: the dataset, the current view or the selected ones, with counts."""
    inputs.view_target(
        ctx,
        dataset_description=f"All {len(ctx.dataset)} samples",
        current_view_description=f"The {len(ctx.view)} samples of the current view",
        selected_samples_description=f"The {len(ctx.selected)} selected samples",
    )


def weights(ctx: Any, inputs: types.Object) -> None:
    """The weights to use: those on this machine first, then downloads, then a file."""
    choices, available = types.Dropdown(), entries()
    for entry in available:
        location = "on this machine" if entry.local else f"download of {entry.size / 1e6:.0f} MB"
        choices.add_choice(entry.weights, label=f"{entry.label} ({location})")
    choices.add_choice(OTHER_FILE, label="A .safetensors or .pth file on the server …")
    requested = ctx.params.get("weights")
    if requested and requested not in {OTHER_FILE, *(entry.weights for entry in available)}:
        choices.add_choice(requested, label=str(requested))  # set by a script
    inputs.enum("weights", choices.values(), default=first_weights(), label="Model", view=choices)
    if ctx.params.get("weights") == OTHER_FILE:
        path = ctx.params.get("weights_file")
        invalid = bool(path) and not str(path).endswith((".safetensors", ".pth"))
        inputs.str(
            "weights_file",
            required=True,
            label="Weights file",
            description=f"An absolute path, or the name of a file in {weights_folder()}",
            invalid=invalid,
            error_message="Weights are .safetensors or .pth files" if invalid else "",
        )


def show_loss(inputs: types.Object, name: str | None) -> None:
    """What weights in int8 lose, as a notice; nothing for weights in float32."""
    entry = next((entry for entry in entries() if entry.weights == name), None)
    loss = "" if name is None else entry.loss if entry is not None else loss_of(Path(name))
    if loss:
        inputs.view("loss", types.Notice(label=f"In int8: {loss}"))


def first_weights() -> str:
    """The default of `weights`."""
    return entries()[0].weights


def chosen_weights(params: Mapping[str, Any]) -> str | None:
    """The weights that were chosen in the form: a name, or the path of a file.

    Example:
        >>> chosen_weights({"weights": OTHER_FILE, "weights_file": "/models/cats.safetensors"})
        '/models/cats.safetensors'
    """
    name = params.get("weights")
    return params.get("weights_file") if name == OTHER_FILE else name


def class_choices(name: str | None) -> list[str]:
    """The class names of weights; empty if they do not name them."""
    if name is None:
        return []
    if name in ("DEFAULT", "COCO_V1") or name.startswith("MaskRCNN_ResNet50_FPN"):
        from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

        return [c for c in MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:] if c != "N/A"]
    names = next((entry.class_names for entry in entries() if entry.weights == name), None)
    return list(names or class_names_of(Path(name)) or ())


def choose_classes(inputs: types.Object, names: list[str]) -> None:
    """The classes to detect, out of the class names of the weights."""
    view = types.AutocompleteView(allow_user_input=False, allow_duplicates=False)
    for name in names:
        view.add_choice(name, label=name)
    if names:
        inputs.list("classes", types.String(), label="Classes", description="By default all", view=view)


def label_fields(dataset: fo.Dataset, *kinds: type[fo.Label]) -> list[str]:
    """The dataset's fields that hold these labels."""
    return [name for kind in kinds for name in dataset.get_field_schema(embedded_doc_type=kind)]


def autocomplete(values: list[str]) -> types.AutocompleteView:
    """A text input that offers values."""
    view = types.AutocompleteView(allow_user_input=True)
    for value in values:
        view.add_choice(value, label=value)
    return view


def default(request: type[RunRequest], name: str) -> Any:
    """The default of a run's parameter."""
    return request.model_fields[name].default


def show_problems(inputs: types.Object, problems: Mapping[str, str]) -> None:
    """Shows each problem under its input."""
    for name, problem in problems.items():
        if (prop := inputs.properties.get(name)) is not None:
            prop.invalid, prop.error_message = True, problem
