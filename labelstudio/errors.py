"""Why a task has no prediction: an error message, and one word for the metrics."""

from __future__ import annotations

from typing import Literal

from maskbridge.adapter.errors import MaskbridgeError

Kind = Literal[
    "task",  # the task's data holds no address of an image
    "address",  # refused: a private address, another scheme, a path that is not an image's
    "not_found",
    "http",  # another response than the image
    "login",  # Label Studio requires a token
    "timeout",
    "connection",
    "too_large",
    "image",  # the bytes are not an image
    "model",  # the model failed, or is not loaded yet
    "queue_full",
]


class TaskImageError(MaskbridgeError):
    """An image of a task cannot be fetched or used. ``kind`` is the reason in one word."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
