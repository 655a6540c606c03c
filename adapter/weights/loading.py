"""A network with the values of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchvision.models import WeightsEnum

from maskbridge.adapter.builders import build, load_state
from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.torchvision_types import Network
from maskbridge.adapter.weights.checkpoints import Weights
from maskbridge.adapter.weights.names import backbone_state


def load_network(
    weights: Weights,
    arguments: Mapping[str, Any],
    *,
    weights_backbone: WeightsEnum | str | None = None,
    trainable_backbone_layers: int | None = None,
    progress: bool = True,
) -> Network:
    """Builds the network that weights are for, in evaluation mode, and loads them.

    Args:
        weights: the values; without any the network's are random.
        arguments: keyword arguments of torchvision's ``MaskRCNN``.
        weights_backbone: weights for the backbone alone, if there are no others.
        trainable_backbone_layers: how many blocks of the backbone are trainable, 0 to 5.
        progress: whether downloads show a bar.

    Raises:
        WeightsError: the weights do not fit the network, or those of the backbone cannot be downloaded or read.
        SettingsError: an argument is invalid.

    Example:
        >>> from maskbridge.adapter.weights.names import resolve
        >>> load_network(resolve("bundled"), {}).roi_heads.box_predictor.cls_score.out_features
        2
    """
    if weights_backbone is not None and weights.state:
        raise SettingsError("weights_backbone is for weights=None: other weights already include the backbone")
    network = build(
        weights.builder,
        num_classes=len(weights.class_names),
        pretrained=bool(weights.state) or weights_backbone is not None,
        trainable_backbone_layers=trainable_backbone_layers,
        norm_eps=weights.norm_eps,
        **arguments,
    )
    if weights.state:
        load_state(network, weights.state, weights.name)
    if weights_backbone is not None:
        state = backbone_state(weights.builder, weights_backbone, progress=progress)
        load_state(network.backbone.body, state, str(weights_backbone))
    return network
