"""The state dict of a network in a file that torch or safetensors wrote. Its content decides what it is, not its ending.

Nothing is unpickled but tensors, plain containers and `argparse.Namespace`, in which torchvision's reference scripts store
their arguments.
"""

from __future__ import annotations

import argparse
import collections
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from maskbridge.adapter.errors import WeightsError

MASK_RCNN = ("roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_predictor.mask_fcn_logits.weight")
"""Parameters that each Mask R-CNN of torchvision has."""

State = Mapping[str, torch.Tensor]

_OTHERS = {
    "detectron2": "a checkpoint of Detectron2: its network is another, and its weights do not fit torchvision's",
    "mmdetection": "a checkpoint of MMDetection: its network is another, and its weights do not fit torchvision's",
}
_SIGNS = {
    "detectron2": ("backbone.bottom_up.", "proposal_generator.", "detectron2", "Detectron2"),
    "mmdetection": ("roi_head.bbox_head.", "rpn_head.rpn_conv.", "mmengine", "mmcv", "mmdet"),
}
_MAX_SCANNED = 20_000  # pickle instructions


def is_safetensors(path: Path) -> bool:
    """Whether a file has the header of safetensors: a length, then JSON.

    Raises:
        WeightsError: the file cannot be read.

    Example:
        >>> from maskbridge.adapter.weights.catalog import BUNDLED_FILE
        >>> is_safetensors(BUNDLED_FILE)
        True
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
            return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None


def mask_rcnn_state(path: Path) -> dict[str, torch.Tensor]:
    """The values of a Mask R-CNN of torchvision by parameter name, wherever the file holds them.

    They may be the file's content, or in one of its (nested) dicts such as ``model`` or ``state_dict``; a common prefix of
    their names, such as ``module.`` or ``_orig_mod.``, is removed.

    Raises:
        WeightsError: the file cannot be read, holds other objects, or not exactly one such network.
    """
    contents = read_contents(path)
    located = [(location, state) for location, values in _dicts(contents, "") for state in _states(values)]
    if len(located) > 1:
        names = ", ".join(location or "the file itself" for location, _ in located)
        raise WeightsError(f"{path}: holds {len(located)} networks ({names}): save the state dict of one of them alone")
    for _, state in located:
        return dict(state)
    keys = [key for _, values in _dicts(contents, "") for key, value in values.items() if isinstance(value, torch.Tensor)]
    raise WeightsError(f"{path}: {_what_it_is(keys or _names(contents))}")


def backbone_state(path: Path) -> dict[str, torch.Tensor]:
    """The values of a backbone: the file's content, or its ``model`` or ``state_dict``.

    Raises:
        WeightsError: the file cannot be read, holds other objects, or is not a state dict.
    """
    contents = read_contents(path)
    for key in ("model", "state_dict"):
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
    if not isinstance(contents, Mapping) or not contents or not all(map(torch.is_tensor, contents.values())):
        raise WeightsError(f"{path}: is not a state dict (parameter names and tensors)")
    return dict(contents)


def read_contents(path: Path) -> Any:
    """What a file holds: tensors in dicts, lists and namespaces.

    Raises:
        WeightsError: it cannot be read, or holds other objects.
    """
    try:
        if is_safetensors(path):
            return safetensors.torch.load_file(path)
        if (reason := _not_a_checkpoint(path)) is not None:
            raise WeightsError(f"{path}: {reason}")
        safe = torch.serialization.safe_globals([argparse.Namespace, collections.Counter])
        with safe, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats that are refused below, by name
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_refusal(path, str(error))}") from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, ImportError,
            zipfile.BadZipFile, safetensors.SafetensorError) as error:  # fmt: skip
        raise WeightsError(f"{path}: {_unreadable(error)}") from None


def _dicts(contents: Any, location: str, depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The dicts in a file's contents that hold tensors, with their keys, outermost first."""
    if not isinstance(contents, Mapping) or depth > 4:
        return
    if any(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in contents.items()):
        yield location, contents
    for key, value in contents.items():
        yield from _dicts(value, f"{location}.{key}".lstrip("."), depth + 1)


def _states(values: Mapping[str, Any]) -> Iterator[State]:
    """The networks whose parameters are among these values, one for each prefix of their names."""
    box, mask = MASK_RCNN
    for key in values:
        is_box = isinstance(key, str) and key.endswith(box) and getattr(values[key], "ndim", 0) == 2
        if is_box and (prefix := key.removesuffix(box)) + mask in values:
            yield {
                name.removeprefix(prefix): value
                for name, value in values.items()
                if isinstance(name, str) and name.startswith(prefix) and isinstance(value, torch.Tensor)
            }


def _names(contents: Any) -> list[str]:
    return [str(key) for key in contents] if isinstance(contents, Mapping) else []


def _what_it_is(keys: list[str]) -> str:
    """What a file with these keys holds instead of a Mask R-CNN of torchvision, in words."""
    for name, signs in _SIGNS.items():
        if any(key.find(sign) >= 0 for key in keys for sign in signs):
            return _OTHERS[name]
    if not keys:
        return "holds no tensors by name, so it is not a state dict"
    shown = ", ".join(map(_printable, keys[:6])) + (f", … ({len(keys)} in all)" if len(keys) > 6 else "")
    if any(key.endswith(MASK_RCNN[0]) for key in keys):
        return f"has no mask head, so it is a Faster R-CNN, not a Mask R-CNN; its keys are {shown}"
    return f"is not torchvision's Mask R-CNN; its keys are {shown}"


def _refusal(path: Path, message: str) -> str:
    """Why a pickle is refused, in words."""
    strings = list(_strings(path))
    for name, signs in _SIGNS.items():
        if any(text.startswith(sign) for text in strings for sign in signs):
            return _OTHERS[name]
    match = re.search(r"GLOBAL ([\w.]+)", message)
    kind = f"objects of the type {match.group(1)}" if match else "more than tensors"
    return (
        f"refused, the file holds {kind}, which could run code when they are loaded. Save the state dict alone: "
        "torch.save(model.state_dict(), path)"
    )


def _not_a_checkpoint(path: Path) -> str | None:
    """What a file is whose beginning is not that of a checkpoint, in words; None if it may be one."""
    with path.open("rb") as file:
        head = file.read(200)
    if head.startswith(b"PK") and _is_torchscript(path):
        return "is a TorchScript archive, not a state dict: save model.state_dict() of the network it was made from"
    if head.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return None
    if not head:
        return "the file is empty"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself: run git lfs pull"
    if head.lstrip().startswith(b"<"):
        return "is a web page, not weights: the download went wrong"
    return "cannot be read: it is neither a checkpoint of torch nor a safetensors file"


def _is_torchscript(path: Path) -> bool:
    """Whether a zip file holds a program: some versions of torch.load would load it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _unreadable(error: Exception) -> str:
    """Why a file cannot be read, in words."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return "cannot be read: the file is incomplete or corrupt"


def _strings(path: Path) -> Iterator[str]:
    """The texts in a pickle, read without running it."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
                data: Any = archive.read(name)
        else:
            data = path.read_bytes()
        for count, (_, argument, _) in enumerate(pickletools.genops(data)):
            if isinstance(argument, str):
                yield argument
            if count > _MAX_SCANNED:
                return
    except Exception:  # a corrupt pickle: what was read before is enough
        return


def _printable(text: str) -> str:
    """A name from a file, without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text[:80])
