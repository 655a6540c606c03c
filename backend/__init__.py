"""The Label Studio backend: predictions for tasks, masks for clicks. Imports neither FiftyOne nor the plugin."""

from __future__ import annotations

from typing import Any

__all__ = ["MaskRCNNBackend"]


def __getattr__(name: str) -> Any:
    # Imported lazily: label-studio-ml is needed only by those who deploy with it.
    if name != "MaskRCNNBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maskbridge.backend.ml_backend import MaskRCNNBackend

    return MaskRCNNBackend
