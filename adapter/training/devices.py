"""The devices of a training run, and which of its processes this is."""

from __future__ import annotations

import os

import torch

from maskbridge.adapter.engines.devices import checked_precision
from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.training.settings import TrainingSettings


def rank_of_process() -> int:
    """This process's rank among those of a training run, 0 for the main process."""
    return int(os.environ.get("LOCAL_RANK", 0))  # Lightning sets it


def is_child_rank() -> bool:
    """Whether this process was started by a training run on several devices.

    Example:
        >>> is_child_rank()
        False
    """
    return rank_of_process() > 0


def check_device(device: torch.device, settings: TrainingSettings) -> None:
    """Raises `SettingsError` if this machine does not support the settings."""
    checked_precision(settings.precision, device)
    if device.type == "cuda" and settings.devices > torch.cuda.device_count():
        raise SettingsError(f"{settings.devices} devices are requested, this machine has {torch.cuda.device_count()} GPUs")
