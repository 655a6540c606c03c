"""What the server refuses to do, as errors for people."""

from __future__ import annotations

from maskbridge.adapter.errors import MaskbridgeError


class TrainingRefusedError(MaskbridgeError):
    """A training run cannot start now."""
