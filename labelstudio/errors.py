"""Why a task has no prediction: an error for people, and a word for the metrics."""

from __future__ import annotations

from typing import Literal

from maskbridge.adapter.errors import MaskbridgeError

Kind = Literal[
    "task",  # its data does not say an image that can be asked for
    "address",  # refused: a private address, another scheme, a path that is no image's
    "not_found",
    "http",  # another answer than the image
    "login",  # Label Studio wants a token
    "timeout",
    "connection",
    "too_large",
    "image",  # the bytes are no image
    "model",  # the model could not do it
    "queue_full",
]


class TaskImageError(MaskbridgeError):
    """An image of a task cannot be had or used. ``kind`` says why in a word."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
