"""A network for another class list; classes of both lists keep their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from maskbridge.adapter.builders import build
from maskbridge.adapter.datasets.labeled_dataset import class_list
from maskbridge.adapter.mask_rcnn import MaskRCNN

_ROWS = {
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}
"""The last layers of torchvision's two heads, and how many rows of their weights belong to a class."""


def with_classes(
    model: MaskRCNN, class_names: Sequence[str], *, trainable_backbone_layers: int | None = None, seed: int = 0
) -> MaskRCNN:
    """A copy of a model for these classes: the same weights, but new rows in the last layers for classes that it lacks.

    Args:
        model: the model to copy; it is not changed.
        class_names: with or without the background; a class of exactly the same name keeps its rows.
        trainable_backbone_layers: how many blocks of the backbone are trainable, 0 to 5.
        seed: for the new rows, which torchvision initializes.

    Example:
        >>> model = MaskRCNN("bundled")
        >>> with_classes(model, ["cat", "person"]).class_names
        ('__background__', 'cat', 'person')
    """
    names, weights = class_list(class_names), model.weights
    state = {name: value.detach().cpu().clone() for name, value in weights.state.items()}
    if names != model.class_names:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # A new network of torchvision's initializes the new rows, so their scale is right.
            initial = build(
                weights.builder,
                num_classes=len(names),
                pretrained=True,
                norm_eps=weights.norm_eps,
                **dict(weights.arguments),
            ).state_dict()
        for layer, rows in _ROWS.items():
            for part in (f"{layer}.weight", f"{layer}.bias"):
                old, new = state[part], initial[part].clone()
                for new_label, name in enumerate(names):
                    if name in model.class_names:
                        old_label = model.class_names.index(name)
                        new[rows * new_label : rows * (new_label + 1)] = old[rows * old_label : rows * (old_label + 1)]
                state[part] = new
    return MaskRCNN(
        replace(weights, class_names=names, state=state),
        trainable_backbone_layers=trainable_backbone_layers,
        device=model.device,
    )
