"""Label Studio from a client's side: label configs, tasks, annotations, images and projects. No server code."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskbridge.labelstudio.exports import read_export
    from maskbridge.labelstudio.plan import make_plan
    from maskbridge.labelstudio.project import fetch_images, read_project
    from maskbridge.labelstudio.settings import LabelStudioSettings, label_studio_settings

__all__ = [
    "LabelStudioSettings",
    "fetch_images",
    "label_studio_settings",
    "make_plan",
    "read_export",
    "read_project",
]

_MODULES = {
    "fetch_images": "project",
    "make_plan": "plan",
    "read_export": "exports",
    "read_project": "project",
}


def __getattr__(name: str) -> Any:
    # The formats import neither the SDK nor the settings' packages: who needs a plan does not wait for them.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maskbridge.adapter.optional_dependencies import requires

    with requires("labelstudio"):
        return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'settings')}"), name)
