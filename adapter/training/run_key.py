"""What a training run's result depends on: a checkpoint is resumed only with the same."""

from __future__ import annotations

import json
from typing import Any

from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.settings import TrainingSettings


def run_key(model: MaskRCNN, images: LabeledDataset, validation: LabeledDataset | None, settings: TrainingSettings) -> str:
    """The weights to start from, classes, images, labels and settings of a training run, as JSON."""
    parts = {
        "weights": model.fingerprint,
        "classes": images.class_names[1:],
        "images": len(images),
        "labels": images.fingerprint(),
        "validation images": len(validation or ()),
        "validation labels": validation.fingerprint() if validation else "",
        "settings": settings.result_settings(),
    }
    return json.dumps(parts, sort_keys=True)


def differences(saved: str, wanted: str) -> list[str]:
    """What differs between two run keys, as texts for people.

    Raises:
        ValueError: a key is not of this version.

    Example:
        >>> one = {"classes": ["cat"], "labels": "5e1", "settings": {"epochs": 5, "seed": 0}}
        >>> differences(json.dumps(one), json.dumps({**one, "settings": {"epochs": 3, "seed": 0}}))
        ['epochs is 3, not 5']
        >>> differences(json.dumps(one), json.dumps({**one, "classes": ["dog"], "labels": "9c3"}))
        ['the classes are dog, not cat']
    """
    old, new = json.loads(saved), json.loads(wanted)
    changed = [name for name in new if name != "settings" and old[name] != new[name]]
    if "classes" in changed:  # labels are of classes, so they differ too
        changed = [name for name in changed if "labels" not in name]
    texts = [_text(name, new[name], old[name]) for name in changed]
    names = dict.fromkeys([*new["settings"], *old["settings"]])
    pairs = ((name, new["settings"].get(name), old["settings"].get(name)) for name in names)
    return texts + [f"{name} is {here}, not {there}" for name, here, there in pairs if here != there]


def _text(name: str, here: Any, there: Any) -> str:
    if name == "classes":
        return f"the classes are {', '.join(here)}, not {', '.join(there)}"
    if isinstance(here, int):
        return f"there are {here} {name}, not {there}"
    return "the weights to start from differ" if name == "weights" else f"the {name} or the names of their images differ"
