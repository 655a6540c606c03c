"""The device and the precision that the network runs in."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.settings import Precision


def checked_device(device: str | torch.device | None) -> torch.device:
    """Returns the device, or a GPU if it is None and one is available, else the CPU.

    Raises:
        SettingsError: the device cannot be used, or is not tested (Apple's mps).
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        checked = torch.device(device)
        if checked.type == "mps":
            raise SettingsError("device 'mps' is not supported: results on it are not tested yet. Use device='cpu'")
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    return checked


def default_batch_size(device: torch.device, streams: int = 1) -> int:
    """How many images are run together unless a caller says otherwise: 1 on a CPU (2 for each stream), 8 on a GPU.

    Example:
        >>> default_batch_size(torch.device("cpu"))
        1
    """
    return 8 if device.type == "cuda" else 1 if streams == 1 else 2 * streams


def checked_precision(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The dtype of automatic mixed precision on a device, None for float32.

    Raises:
        SettingsError: the precision is unknown, or not supported on the device; the supported ones are listed.

    Example:
        >>> checked_precision("bfloat16", torch.device("cpu"))
        torch.bfloat16
    """
    supported = _SUPPORTED.get(device.type, ("float32",))
    if precision not in supported:
        raise SettingsError(f"precision on {device.type} is {' or '.join(supported)}, not {precision!r}")
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


_SUPPORTED: Mapping[str, tuple[Precision, ...]] = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float32", "bfloat16", "float16"),
}
