"""The model version that predictions carry."""

from __future__ import annotations

import re
from pathlib import Path

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.weights.checkpoints import variant_fingerprint


def model_version(model: MaskRCNN) -> str:
    """Builder, weights, engine and fingerprint, such as ``maskrcnn_resnet50_fpn-COCO_V1-openvino-float32-1a2b3c4d5e6f``.

    A weights file appears as its name, without folder and suffix; PyTorch in float32 is not named. No version is a part
    of another, since Label Studio's filter matches substrings: a fingerprint in a file's name is changed.

    Example:
        >>> model_version(MaskRCNN("bundled"))
        'maskrcnn_mobilenet_v2_fpn-bundled-8abe57d886f2'
    """
    return with_variant(base_version(model), model.engine.variant)


def base_version(model: MaskRCNN) -> str:
    """The version of the same weights with PyTorch in float32, by which files of trained weights are known."""
    weights = Path(model.weights_name.partition("#")[0]).name.removesuffix(".safetensors").removesuffix(".pth")
    return f"{model.builder}-{re.sub('-(?=[0-9a-f]{12})', '_', weights)}-{model.weights_fingerprint}"


def with_variant(base: str, variant: str) -> str:
    """A version for an engine's variant, from that of the same weights with PyTorch in float32.

    Example:
        >>> with_variant("maskrcnn_resnet50_fpn-COCO_V1-1a2b3c4d5e6f", "openvino-float32")
        'maskrcnn_resnet50_fpn-COCO_V1-openvino-float32-05071de7ac49'
    """
    weights, _, fingerprint = base.rpartition("-")
    return f"{weights}-{variant}-{variant_fingerprint(fingerprint, variant)}" if variant else base
