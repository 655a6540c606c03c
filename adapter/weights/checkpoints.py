"""Weights as files: read without unpickling, written atomically, identified by a fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.builders import DEFAULT_BUILDER
from maskbridge.adapter.errors import WeightsError
from maskbridge.adapter.instances import BACKGROUND

_FORMAT = "1"


@dataclass(frozen=True)
class Weights:
    """Values for a network, and how to build it.

    Attributes:
        name: for display: ``COCO_V1``, a file's name, ``random``.
        builder: the key of `maskbridge.adapter.builders.BUILDERS` that they fit.
        class_names: names by label, the background first.
        state: the values by parameter name; empty for random ones.
        arguments: keyword arguments of the network that they were trained with.
        norm_eps: epsilon of the frozen batch norms, None for torchvision's default.
    """

    name: str
    builder: str
    class_names: tuple[str, ...]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    norm_eps: float | None = None


def save(
    path: str | os.PathLike[str], weights: Weights, *, half: bool = False, extra: Mapping[str, str] | None = None
) -> Path:
    """Writes a safetensors file that holds all that is needed to load it: values, builder, class names and arguments.

    Args:
        path: ends in ``.safetensors``; written beside it first, then renamed.
        weights: what to write.
        half: whether floats are stored in 16 bits (they are read back as 32).
        extra: further metadata.

    Raises:
        WeightsError: the path has another ending, the disk is full, or an argument is a module, which a file cannot hold.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors")
    try:
        arguments = json.dumps(dict(weights.arguments))
    except TypeError:
        raise WeightsError("a network with modules of its own as arguments cannot be written as a weights file") from None
    metadata = dict(extra or {}) | {
        "maskbridge": _FORMAT,
        "builder": weights.builder,
        "class_names": json.dumps(weights.class_names),
        "arguments": arguments,
        "norm_eps": json.dumps(weights.norm_eps),
    }
    state = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for name, value in weights.state.items()
    }
    try:
        with atomic_write(path) as temporary:
            safetensors.torch.save_file(state, temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written ({error}); the earlier file is kept") from error
    return path


def fingerprint(weights: Weights) -> str:
    """A short stable hash (12 hex digits) of values, builder, class names and arguments; not of thresholds per call."""
    settings = [weights.builder, weights.class_names, sorted(weights.arguments.items()), weights.norm_eps]
    digest = hashlib.sha256(json.dumps(settings, default=repr).encode())
    for name in sorted(weights.state):
        value = weights.state[name].detach().cpu().contiguous()
        digest.update(name.encode())
        digest.update((value.float() if value.is_floating_point() else value).numpy().tobytes())
    return digest.hexdigest()[:12]


def read_pth(path: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict that torch saved, without unpickling anything but tensors and plain containers.

    Raises:
        WeightsError: the file cannot be read, holds other objects, or is not a state dict.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{path}: refused, the file holds more than tensors ({reason}). Save the state dict alone: "
            "torch.save(model.state_dict(), path)"
        ) from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: cannot be read as a state dict ({error or type(error).__name__})") from error
    for key in ("model", "state_dict"):  # what torchvision's and Lightning's training scripts wrap it in
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: is not a state dict (parameter names and tensors)")
    return state


def read_safetensors(path: Path, name: str, builder: str | None) -> Weights:
    """Reads a ``.safetensors`` file, ours or a state dict alone (then for ``builder``).

    Raises:
        WeightsError: the file cannot be read or is of a newer format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = safetensors.torch.load_file(path)
        if metadata.get("maskbridge", _FORMAT) != _FORMAT:
            raise WeightsError(f"{path}: written by a newer maskbridge (format {metadata['maskbridge']})")
        if "maskbridge" not in metadata:
            return Weights(name, builder or DEFAULT_BUILDER, default_names(class_count(state, path)), state)
        return Weights(
            name,
            metadata["builder"],
            tuple(json.loads(metadata["class_names"])),
            state=state,
            arguments=json.loads(metadata["arguments"]),
            norm_eps=json.loads(metadata["norm_eps"]),
        )
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a weights file ({error})") from error


def class_count(state: Mapping[str, torch.Tensor], path: Path) -> int:
    """The number of classes with the background, from the shape of the box predictor.

    Raises:
        WeightsError: the state dict is not that of torchvision's Mask R-CNN.
    """
    key = "roi_heads.box_predictor.cls_score.weight"
    if key not in state or state[key].ndim != 2:
        raise WeightsError(f"{path}: has no {key}, so it is not torchvision's Mask R-CNN")
    return int(state[key].shape[0])


def default_names(count: int) -> tuple[str, ...]:
    """The class names of weights that do not have any, for a number of classes with the background.

    Example:
        >>> default_names(3)
        ('__background__', 'class_1', 'class_2')
    """
    return (BACKGROUND, *(f"class_{label}" for label in range(1, count)))
