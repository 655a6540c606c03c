"""The models of ``manifest.json`` for FiftyOne's model zoo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.weights.catalog import BUNDLED_FILE, DOWNLOADS
from maskbridge.plugin.model import MaskRCNNModel


def download(model_name: str, model_path: str) -> None:
    """Copies a model's weights to the path that FiftyOne expects.

    Raises:
        WeightsError: the weights cannot be downloaded.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     download("maskbridge/bundled", f"{folder}/{BUNDLED_FILE.name}")
        ...     load("maskbridge/bundled", f"{folder}/{BUNDLED_FILE.name}").media_type
        'image'
    """
    path = Path(model_path)
    if path.name == BUNDLED_FILE.name:
        source = BUNDLED_FILE
    else:
        from maskbridge.adapter.weights.names import fetch

        source = fetch(next(name for name, (file, _) in DOWNLOADS.items() if file == path.name))
    with atomic_write(path) as file:
        shutil.copyfile(source, file)


def load(model_name: str, model_path: str, **options: Any) -> MaskRCNNModel:
    """Loads a model from downloaded weights; options are those of `MaskRCNNModel`."""
    return MaskRCNNModel(model_path, **options)
