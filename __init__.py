"""torchvision's Mask R-CNN, the same model in FiftyOne and in Label Studio.

The rooms: `maskbridge.adapter` (the model), `maskbridge.plugin` (FiftyOne), `maskbridge.labelstudio` and
`maskbridge.backend` (Label Studio), `maskbridge.cli` (the commands).
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("maskbridge")
