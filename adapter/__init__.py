"""torchvision's Mask R-CNN, from images to instances. Knows neither FiftyOne nor Label Studio."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.coco_dataset import read_coco
    from maskbridge.adapter.errors import ImageError, MaskbridgeError, MissingExtraError, SettingsError, WeightsError
    from maskbridge.adapter.export.onnx_mask_rcnn import OnnxMaskRCNN
    from maskbridge.adapter.instances import Instances
    from maskbridge.adapter.mask_rcnn import MaskRCNN
    from maskbridge.adapter.masks import MaskCrop
    from maskbridge.adapter.training.run import train
    from maskbridge.adapter.training.settings import TrainingSettings

__all__ = [
    "ImageError",
    "Instances",
    "MaskCrop",
    "MaskRCNN",
    "MaskbridgeError",
    "MissingExtraError",
    "OnnxMaskRCNN",
    "SettingsError",
    "TrainingSettings",
    "WeightsError",
    "read_coco",
    "train",
]

_MODULES = {
    "Instances": "instances",
    "MaskCrop": "masks",
    "MaskRCNN": "mask_rcnn",
    "OnnxMaskRCNN": "export.onnx_mask_rcnn",
    "TrainingSettings": "training.settings",
    "read_coco": "datasets.coco_dataset",
    "train": "training.run",
}


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import: importing only an error does not wait for it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_MODULES.get(name, 'errors')}"
    if name != "train":
        return getattr(importlib.import_module(module), name)
    from maskbridge.adapter.optional_dependencies import requires

    with requires("train"):
        return importlib.import_module(module).train
