"""Mask R-CNN for FiftyOne: a model for ``dataset.apply_model``, labels that convert both ways, operators for the App.

FiftyOne imports this file under another module name each time it lists plugins, so it imports nothing heavy. A missing
package is logged in one line, since FiftyOne hides the reason.
"""

from __future__ import annotations

import logging
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskbridge.plugin.model import MaskRCNNModel

__all__ = ["MaskRCNNModel", "download_model", "load_model", "register"]

logger = logging.getLogger("maskbridge")

if find_spec("fiftyone") is None:
    from maskbridge.adapter.optional_dependencies import requires

    with requires("fiftyone"):
        import fiftyone  # noqa: F401


def register(plugin: Any) -> None:
    """Registers the operators; called by FiftyOne."""
    try:
        from maskbridge.plugin.operators import OPERATORS
    except ImportError as error:
        logger.error(
            "the maskbridge plugin needs a package that is not installed (%s): pip install %s",
            error,
            shlex.quote(f"{Path(__file__).resolve().parents[1]}[fiftyone]"),
        )
        return
    for operator in OPERATORS:
        plugin.register(operator)


def download_model(model_name: str, model_path: str) -> None:
    """Downloads the weights of a model of ``manifest.json``; called by FiftyOne's model zoo."""
    from maskbridge.plugin.zoo import download

    download(model_name, model_path)


def load_model(model_name: str, model_path: str, **options: Any) -> MaskRCNNModel:
    """Loads a downloaded model; called by FiftyOne's model zoo."""
    from maskbridge.plugin.zoo import load

    return load(model_name, model_path, **options)


def __getattr__(name: str) -> Any:
    if name == "MaskRCNNModel":
        from maskbridge.plugin.model import MaskRCNNModel

        return MaskRCNNModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
