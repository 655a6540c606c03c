"""The plugin's operators as scripts call them."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo

URI = "@maskbridge/maskbridge"
FAST = {"weights": "bundled", "progress": False}


def operator(name: str) -> Any:
    """An operator by its short name."""
    return foo.get_operator(f"{URI}/{name}")
