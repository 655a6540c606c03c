"""A cache of the models that operators use, since loading takes seconds. FiftyOne runs the plugin's entry again and
again, but imports this module once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.weights.catalog import weights_folder
from maskbridge.plugin.requests.base import RunRequest


def load(request: RunRequest) -> MaskRCNN:
    """The model of a request; a file that has changed is read again.

    Example:
        >>> request = RunRequest(label_field="instances", weights="bundled", device="cpu")
        >>> load(request) is load(request)
        True
    """
    files = (path for path in (Path(request.weights).expanduser(), weights_folder() / request.weights) if path.is_file())
    stamp = next((path.stat().st_mtime_ns for path in files), 0)
    return _load(request.weights, request.device, request.engine, request.precision, request.streams, stamp)


@lru_cache(maxsize=2)
def _load(weights: str, device: str | None, engine: EngineName, precision: Precision, streams: int, stamp: int) -> MaskRCNN:
    return MaskRCNN(weights, device=device, engine=engine, precision=precision, streams=streams, progress=False)
