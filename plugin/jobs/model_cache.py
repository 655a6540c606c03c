"""A cache of the models that operators use, since loading takes seconds. FiftyOne runs the plugin's entry again and
again, but imports this module once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.weights.catalog import weights_folder


def load(weights: str, device: str | None) -> MaskRCNN:
    """A model by its weights; a file that has changed is read again."""
    files = (path for path in (Path(weights).expanduser(), weights_folder() / weights) if path.is_file())
    stamp = next((path.stat().st_mtime_ns for path in files), 0)
    return _load(weights, device, stamp)


@lru_cache(maxsize=2)
def _load(weights: str, device: str | None, stamp: int) -> MaskRCNN:
    return MaskRCNN(weights, device=device, progress=False)
