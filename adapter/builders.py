"""The table of network builders, and how a network is built from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from torch import nn
from torchvision.models import ResNet50_Weights, WeightsEnum
from torchvision.models.detection import (
    MaskRCNN_ResNet50_FPN_V2_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.mobilenetv2 import MobileNet_V2_Weights, mobilenet_v2

from maskbridge.adapter.errors import SettingsError, WeightsError, nearest
from maskbridge.adapter.frozen_norm import freeze_norms
from maskbridge.adapter.torchvision_types import Network
from maskbridge.adapter.validation import Fraction, PositiveInteger, validate

STRIDES = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64}
"""Stride of each feature level, in pixels of the network's input; the same for every builder."""


def _mobilenet_v2_fpn(*, num_classes: int, **arguments: Any) -> Network:
    features = mobilenet_v2(weights=None).features
    # Strides 4, 8, 16 and 32, and a fifth level by max-pooling, as in the ResNet builders; a third of their channels.
    channels = 96
    backbone = BackboneWithFPN(features, {"3": "0", "6": "1", "13": "2", "18": "3"}, [24, 32, 96, 1280], channels)
    parts: dict[str, Any] = {
        "rpn_anchor_generator": AnchorGenerator(((16,), (32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 5),
        "box_head": TwoMLPHead(channels * 49, 256),
        "box_predictor": FastRCNNPredictor(256, num_classes),
        "mask_head": MaskRCNNHeads(channels, (96, 96), 1),
        "mask_predictor": MaskRCNNPredictor(96, 96, num_classes),
    }
    return Network(backbone, **parts | arguments)  # type: ignore[no-untyped-call]


def _torchvision(build: Callable[..., Any]) -> Callable[..., Network]:
    def build_with_random_values(*, num_classes: int, **arguments: Any) -> Network:
        return build(weights=None, weights_backbone=None, num_classes=num_classes, progress=False, **arguments)

    return build_with_random_values


@dataclass(frozen=True)
class Builder:
    """A network family.

    Attributes:
        build: function from ``num_classes`` and arguments of torchvision's ``MaskRCNN`` to a network with random values.
        stages: for each block that ``trainable_backbone_layers`` counts, last block first, prefixes of the backbone's
            parameter names.
        backbone_weights: torchvision's weights enum for the backbone alone.
        parameters: names of parameters that together no other builder has.
        weights: torchvision's weights enum for the complete network, or None.
        frozen_norm: whether a pretrained backbone has frozen batch norms.
        defaults: arguments that differ from torchvision's ``MaskRCNN``.
    """

    build: Callable[..., Network]
    stages: tuple[tuple[str, ...], ...]
    backbone_weights: type[WeightsEnum]
    parameters: tuple[str, ...]
    weights: type[WeightsEnum] | None = None
    frozen_norm: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)


_RESNET_STAGES = (("layer4",), ("layer3",), ("layer2",), ("layer1",), ("conv1", "bn1"))
_MOBILENET_STAGES = (
    tuple(f"{block}." for block in range(14, 19)),
    tuple(f"{block}." for block in range(7, 14)),
    tuple(f"{block}." for block in range(4, 7)),
    ("2.", "3."),
    ("0.", "1."),
)

BUILDERS: Mapping[str, Builder] = {
    "maskrcnn_resnet50_fpn": Builder(
        _torchvision(maskrcnn_resnet50_fpn),
        _RESNET_STAGES,
        ResNet50_Weights,
        ("backbone.body.conv1.weight", "roi_heads.box_head.fc6.weight"),
        MaskRCNN_ResNet50_FPN_Weights,
    ),
    "maskrcnn_resnet50_fpn_v2": Builder(
        _torchvision(maskrcnn_resnet50_fpn_v2),
        _RESNET_STAGES,
        ResNet50_Weights,
        ("backbone.body.conv1.weight", "roi_heads.box_head.0.0.weight"),
        MaskRCNN_ResNet50_FPN_V2_Weights,
        frozen_norm=False,
    ),
    "maskrcnn_mobilenet_v2_fpn": Builder(
        _mobilenet_v2_fpn,
        _MOBILENET_STAGES,
        MobileNet_V2_Weights,
        ("backbone.body.0.0.weight", "roi_heads.box_head.fc6.weight"),
        defaults={
            "min_size": 320,
            "max_size": 480,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "rpn_pre_nms_top_n_train": 600,
            "rpn_pre_nms_top_n_test": 300,
            "rpn_post_nms_top_n_train": 300,
            "rpn_post_nms_top_n_test": 150,
            "rpn_batch_size_per_image": 128,
            "box_batch_size_per_image": 96,
        },
    ),
}
DEFAULT_BUILDER = "maskrcnn_resnet50_fpn"

# The predictors' sizes come from num_classes; torchvision's builders reject both predictors as well.
_NOT_ARGUMENTS = {"self", "backbone", "num_classes", "kwargs", "_skip_resize", "box_predictor", "mask_predictor"}
ARGUMENTS = tuple(
    dict.fromkeys(
        name
        for function in (MaskRCNN.__init__, GeneralizedRCNNTransform.__init__)
        for name in inspect.signature(function).parameters
        if name not in _NOT_ARGUMENTS
    )
)
"""Names of the keyword arguments: those of torchvision's ``MaskRCNN`` class and of its transform."""


def builder_of(name: str) -> Builder:
    """The entry of `BUILDERS`.

    Raises:
        SettingsError: no builder has this name; the nearest name is suggested.

    Example:
        >>> builder_of("maskrcnn_resnet50_fpn").frozen_norm
        True
    """
    if name not in BUILDERS:
        raise SettingsError(f"unknown builder {name!r}: {nearest(name, BUILDERS)}")
    return BUILDERS[name]


def build(
    name: str,
    *,
    num_classes: int,
    pretrained: bool,
    trainable_backbone_layers: int | None = None,
    norm_eps: float | None = None,
    **arguments: Any,
) -> Network:
    """Builds a network with random values, in evaluation mode, as torchvision's builder does before it loads weights.

    Args:
        name: a key of `BUILDERS`.
        num_classes: number of classes with the background, 2 or more.
        pretrained: whether trained weights will be loaded. Then its batch norms are frozen where
            torchvision's builder freezes them, and 3 of its 5 blocks are trainable by default instead of all.
        trainable_backbone_layers: how many blocks of the backbone are trainable, counted from the last, 0 to 5.
        norm_eps: epsilon of the frozen batch norms, if not torchvision's 1e-5 (its ``COCO_V1`` values need 0).
        **arguments: keyword arguments of torchvision's ``MaskRCNN``, checked.

    Raises:
        SettingsError: a name or value is invalid.
    """
    builder = builder_of(name)
    check_arguments(arguments)
    layers = (3 if pretrained else 5) if trainable_backbone_layers is None else trainable_backbone_layers
    if not isinstance(layers, int) or isinstance(layers, bool) or not 0 <= layers <= 5:
        raise SettingsError(f"trainable_backbone_layers is a whole number from 0 to 5, not {layers!r}")
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2:
        raise SettingsError(f"num_classes is a whole number of 2 or more (it counts the background), not {num_classes!r}")
    try:
        network = builder.build(num_classes=num_classes, **{**builder.defaults, **arguments})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} cannot be built from {', '.join(arguments) or 'its defaults'}: {error}") from error
    if pretrained and builder.frozen_norm:
        freeze_norms(network.backbone.body, 1e-5 if norm_eps is None else norm_eps)
    trainable = tuple(prefix for stage in builder.stages[:layers] for prefix in stage)
    for parameter_name, parameter in network.backbone.body.named_parameters():
        parameter.requires_grad_(bool(trainable) and parameter_name.startswith(trainable))
    _fix_pooling_scales(network)
    return network.eval()


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises `SettingsError` where a keyword argument of the network has an invalid name or value."""
    for name, value in arguments.items():
        if name not in ARGUMENTS:
            raise SettingsError(f"unknown argument {name!r}: {nearest(name, ARGUMENTS, show=len(ARGUMENTS))}")
        for ending, adapter in _VALUES.items():
            if name.endswith(ending):
                validate(name, value, adapter)


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _numbers(number: Any, count: int, description: str) -> Any:
    """The type of a list or tuple of numbers."""
    schema: dict[str, Any] = {"allowed": description}
    return Annotated[Sequence[number], Field(min_length=count, max_length=count, json_schema_extra=schema)]


_VALUES: Mapping[str, TypeAdapter[Any]] = {
    "_thresh": TypeAdapter(Fraction),
    "_fraction": TypeAdapter(Fraction),
    "_per_img": TypeAdapter(PositiveInteger),
    "_per_image": TypeAdapter(PositiveInteger),
    "_top_n_train": TypeAdapter(PositiveInteger),
    "_top_n_test": TypeAdapter(PositiveInteger),
    "max_size": TypeAdapter(PositiveInteger),
    "size_divisible": TypeAdapter(Annotated[int, Field(ge=32, multiple_of=32)]),
    "min_size": TypeAdapter(
        Annotated[
            PositiveInteger | Annotated[Sequence[PositiveInteger], Field(min_length=1)],
            Field(json_schema_extra={"allowed": "a whole number of 1 or more, or a list of them"}),
        ]
    ),
    "fixed_size": TypeAdapter(_numbers(PositiveInteger, 2, "(width, height)") | None),
    "image_mean": TypeAdapter(_numbers(_Finite, 3, "three numbers") | None),
    "image_std": TypeAdapter(_numbers(_Positive, 3, "three numbers above 0") | None),
    "bbox_reg_weights": TypeAdapter(_numbers(_Positive, 4, "four numbers above 0") | None),
}
"""The values that keyword arguments may have, by the ends of their names."""


def load_state(module: nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Loads a state dict strictly, except for the batch norms' ``num_batches_tracked``.

    Raises:
        WeightsError: keys are missing or unexpected, or have another shape; the first of them are listed.
    """
    own = module.state_dict()
    ignored = {key for key in own.keys() ^ state.keys() if key.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - state.keys() - ignored)
    unexpected = sorted(state.keys() - own.keys() - ignored)
    shapes = [
        f"{key} {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    problems = [
        f"{len(keys)} {problem}: {', '.join(keys[:4])}{', …' if len(keys) > 4 else ''}"
        for problem, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if keys
    ]
    if problems:
        raise WeightsError(f"the weights {name} do not fit the network: {'; '.join(problems)}")
    module.load_state_dict(state, strict=False)


def _fix_pooling_scales(network: Network) -> None:
    """Sets the strides of the levels that the two RoI poolers read.

    torchvision's ``MultiScaleRoIAlign`` infers them once, from the first image: incorrect for all later images if
    that one is a few pixels high, and not thread-safe.
    """
    side = 1024
    levels = {level: torch.zeros(1, 1, side // stride, side // stride) for level, stride in STRIDES.items()}
    for pool in (network.roi_heads.box_roi_pool, network.roi_heads.mask_roi_pool):
        pool(levels, [torch.tensor([[0.0, 0.0, 64.0, 64.0]])], [(side, side)])
