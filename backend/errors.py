"""Requests that the server refuses, as errors with a message for users."""

from __future__ import annotations

from maskbridge.adapter.errors import MaskbridgeError


class TrainingRefusedError(MaskbridgeError):
    """A training run cannot be started now."""
