"""Where and in which arithmetic the network runs."""

from __future__ import annotations

import torch

from maskbridge.adapter.errors import SettingsError


def checked_device(device: str | torch.device | None) -> torch.device:
    """The device to work on: the one given, if it can be used; by default a GPU where there is one."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error
    return checked


def checked_autocast(name: str | None) -> torch.dtype | None:
    """The dtype of autocast by name, None for none."""
    dtypes = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    if name is not None and name not in dtypes:
        raise SettingsError(f"autocast is 'bfloat16', 'float16' or None, not {name!r}")
    return None if name is None else dtypes[name]
