"""The Label Studio backend: predictions for tasks, masks for clicks. Imports neither FiftyOne nor the plugin."""

from __future__ import annotations

from typing import Any

__all__ = ["MaskRCNNBackend"]


def __getattr__(name: str) -> Any:
    # Imported lazily: label-studio-ml is needed only by those who deploy with it.
    if name != "MaskRCNNBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maskbridge.adapter.errors import MissingExtraError
    from maskbridge.adapter.optional_dependencies import requires

    with requires("labelstudio"):
        try:
            from maskbridge.backend.ml_backend import MaskRCNNBackend
        except ModuleNotFoundError as error:
            if error.name != "label_studio_ml":
                raise
            raise MissingExtraError(
                "this needs the package label_studio_ml, which is not installed; maskbridge serve does without it",
                name=error.name,
            ) from error
    return MaskRCNNBackend
