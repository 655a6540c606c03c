"""Weights as files: read without unpickling, written atomically, identified by a fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.builders import BUILDERS, DEFAULT_BUILDER
from maskbridge.adapter.errors import WeightsError
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.weights.quantized import METADATA, Quantized, take_quantized
from maskbridge.adapter.weights.state_dicts import MASK_RCNN, mask_rcnn_state

log = logging.getLogger(__name__)
_FORMAT = "1"
_FORMAT_INT8 = "2"
"""Of files with layers in int8, which earlier versions of Maskbridge cannot read."""


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
        quantized: the same network's layers in int8, None if there are none.
    """

    name: str
    builder: str
    class_names: tuple[str, ...]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    norm_eps: float | None = None
    quantized: Quantized | None = None


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
        "maskbridge": _FORMAT if weights.quantized is None else _FORMAT_INT8,
        "builder": weights.builder,
        "class_names": json.dumps(weights.class_names),
        "arguments": arguments,
        "norm_eps": json.dumps(weights.norm_eps),
    }
    state = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for name, value in weights.state.items()
    }
    if weights.quantized is not None:
        metadata[METADATA] = weights.quantized.to_metadata()
        state |= weights.quantized.to_tensors()
    try:
        with atomic_write(path) as temporary:
            safetensors.torch.save_file(state, temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written ({error}); the earlier file is kept") from error
    return path


def fingerprint(weights: Weights) -> str:
    """A short stable hash (12 hex digits) of values, builder, class names and arguments; not of thresholds per call.

    Layers in int8 are not hashed: see `variant_fingerprint`.
    """
    settings = [weights.builder, weights.class_names, sorted(weights.arguments.items()), weights.norm_eps]
    digest = hashlib.sha256(json.dumps(settings, default=repr).encode())
    for name in sorted(weights.state):
        value = weights.state[name].detach().cpu().contiguous()
        digest.update(name.encode())
        digest.update((value.float() if value.is_floating_point() else value).numpy().tobytes())
    return digest.hexdigest()[:12]


def variant_fingerprint(fingerprint: str, variant: str) -> str:
    """The fingerprint of weights in an engine's variant (see `maskbridge.adapter.engines`); the same for an empty variant.

    Example:
        >>> variant_fingerprint("1a2b3c4d5e6f", "")
        '1a2b3c4d5e6f'
    """
    return hashlib.sha256(f"{fingerprint} {variant}".encode()).hexdigest()[:12] if variant else fingerprint


def read_safetensors(path: Path, builder: str | None, norm_eps: float | None = None) -> Weights:
    """Reads a ``.safetensors`` file, ours or a state dict alone (then for ``builder``).

    Raises:
        WeightsError: the file cannot be read or is of a newer format.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("maskbridge", _FORMAT) not in (_FORMAT, _FORMAT_INT8):
            raise WeightsError(f"{path}: written by a newer maskbridge (format {metadata['maskbridge']})")
        if "maskbridge" not in metadata:
            return from_state(mask_rcnn_state(path), path, builder, norm_eps)
        state = safetensors.torch.load_file(path)
        quantized = take_quantized(state, metadata)
        return Weights(
            path.name,
            metadata["builder"],
            tuple(json.loads(metadata["class_names"])),
            state=state,
            arguments=json.loads(metadata["arguments"]),
            norm_eps=json.loads(metadata["norm_eps"]),
            quantized=quantized,
        )
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a weights file ({error})") from error


def from_state(
    state: Mapping[str, torch.Tensor], path: Path, builder: str | None, norm_eps: float | None = None
) -> Weights:
    """Weights from a state dict alone. The builder is the one whose parameters have these names, unless it is given.

    A state dict does not hold the epsilon of frozen batch norms: for a ResNet-50 with frozen norms, a warning names the
    option unless it is given, since fine-tunes of torchvision's ``COCO_V1`` need 0.
    """
    builder = builder or next(
        (key for key, entry in BUILDERS.items() if all(part in state for part in entry.parameters)), DEFAULT_BUILDER
    )
    if norm_eps is None and builder == DEFAULT_BUILDER and not any(key.endswith("num_batches_tracked") for key in state):
        log.warning(
            "%s: its norms are frozen, and a state dict does not hold their epsilon: 1e-05 is used; if it was trained from "
            "torchvision's COCO_V1, set norm_eps=0 (--norm-eps 0)",
            path,
        )
    class_names = default_names(int(state[MASK_RCNN[0]].shape[0]))
    return Weights(path.name, builder, class_names, state, norm_eps=norm_eps)


def default_names(count: int) -> tuple[str, ...]:
    """The class names of weights that do not have any, for a number of classes with the background.

    Example:
        >>> default_names(3)
        ('__background__', 'class_1', 'class_2')
    """
    return (BACKGROUND, *(f"class_{label}" for label in range(1, count)))
