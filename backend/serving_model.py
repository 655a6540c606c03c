"""The one model of the process, known by its version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskbridge.adapter import MaskRCNN
from maskbridge.backend.settings import ServerSettings


@dataclass(frozen=True)
class ServingModel:
    """A model that answers, and the version that its predictions carry."""

    model: MaskRCNN
    version: str


def model_version(model: MaskRCNN) -> str:
    """Builder, weights and fingerprint, such as ``maskrcnn_resnet50_fpn-COCO_V1-1a2b3c4d5e6f``.

    Of a file only the name is told, not where it lies.
    """
    weights = Path(model.weights_name.partition("#")[0]).name.removesuffix(".safetensors").removesuffix(".pth")
    return f"{model.builder}-{weights}-{model.fingerprint}"


def load(settings: ServerSettings) -> ServingModel:
    """Loads the model that the settings name and runs it once, so that the first photo does not wait.

    Raises:
        WeightsError, SettingsError: it cannot be loaded.
    """
    return _ready(settings.weights, settings.builder, settings)


def load_file(file: Path, settings: ServerSettings) -> ServingModel:
    """Loads weights that were trained here, to answer as the settings say.

    Raises:
        WeightsError, SettingsError: they cannot be loaded.
    """
    return _ready(str(file), None, settings)


def _ready(weights: str, builder: str | None, settings: ServerSettings) -> ServingModel:
    model = MaskRCNN(weights, builder=builder, device=settings.device, autocast=settings.autocast, progress=False)
    model.predict(np.zeros((64, 64, 3), dtype=np.uint8))
    return ServingModel(model, model_version(model))
