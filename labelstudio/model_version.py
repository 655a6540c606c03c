"""The model version that predictions carry."""

from __future__ import annotations

from pathlib import Path

from maskbridge.adapter import MaskRCNN


def model_version(model: MaskRCNN) -> str:
    """Builder, weights and fingerprint, such as ``maskrcnn_resnet50_fpn-COCO_V1-1a2b3c4d5e6f``.

    A weights file appears as its name, without folder and suffix.

    Example:
        >>> model_version(MaskRCNN("bundled"))
        'maskrcnn_mobilenet_v2_fpn-bundled-8abe57d886f2'
    """
    weights = Path(model.weights_name.partition("#")[0]).name.removesuffix(".safetensors").removesuffix(".pth")
    return f"{model.builder}-{weights}-{model.fingerprint}"
