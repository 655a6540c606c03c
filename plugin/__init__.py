"""Mask R-CNN for FiftyOne: a model for ``dataset.apply_model``, labels that convert both ways, operators for the App.

FiftyOne loads this file under a name of its own, whenever it lists plugins: it imports nothing heavy, and logs in one line
what is missing, since FiftyOne hides the reason.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskbridge.plugin.model import MaskRCNNModel

__all__ = ["MaskRCNNModel", "download_model", "load_model", "register"]

logger = logging.getLogger("maskbridge")


def register(plugin: Any) -> None:
    """What FiftyOne calls: registers the operators."""
    try:
        from maskbridge.plugin.operators import OPERATORS
    except ImportError as error:
        logger.error(
            "the maskbridge plugin needs a package that is not installed (%s): "
            "run `fiftyone plugins requirements @maskbridge/maskbridge --install`",
            error,
        )
        return
    for operator in OPERATORS:
        plugin.register(operator)


def download_model(model_name: str, model_path: str) -> None:
    """What FiftyOne's model zoo calls for a model of ``manifest.json``."""
    from maskbridge.plugin.zoo import download

    download(model_name, model_path)


def load_model(model_name: str, model_path: str, **options: Any) -> MaskRCNNModel:
    """What FiftyOne's model zoo calls for a model that was downloaded."""
    from maskbridge.plugin.zoo import load

    return load(model_name, model_path, **options)


def __getattr__(name: str) -> Any:
    if name == "MaskRCNNModel":
        from maskbridge.plugin.model import MaskRCNNModel

        return MaskRCNNModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
