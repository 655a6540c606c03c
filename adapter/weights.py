"""Weights: by name, from a file, from a URL, with their class names; never by unpickling."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urldefrag, urlsplit

import safetensors
import safetensors.torch
import torch
from torchvision.models import WeightsEnum

from maskbridge.adapter.builders import BUILDERS, DEFAULT_BUILDER, builder_of
from maskbridge.adapter.download import download, sha256
from maskbridge.adapter.errors import SettingsError, WeightsError, nearest
from maskbridge.adapter.files import replacing
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.library import BUNDLED, BUNDLED_FILE, cached_file, folder

WeightsLike: TypeAlias = "str | os.PathLike[str] | WeightsEnum | Weights | None"
"""What `resolve` takes: a name, a file, an https URL with a sha256, torchvision's enum member, `Weights` made elsewhere,
None for random."""

_FORMAT = "1"


@dataclass(frozen=True)
class Weights:
    """Values for a network, and what is known about them.

    Attributes:
        name: how people call them: ``COCO_V1``, a file's name, ``random``.
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


def resolve(
    weights: WeightsLike,
    *,
    builder: str | None = None,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    progress: bool = True,
    limit: float | None = None,
) -> Weights:
    """Finds weights, downloads them if need be, reads them.

    Args:
        weights: ``"bundled"``; torchvision's enum member or its string (``"DEFAULT"``, ``"COCO_V1"``,
            ``"MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1"``); a ``.safetensors`` or ``.pth`` file (also just its name, if
            it lies in `folder`); ``"https://…#sha256=…"``; `Weights` as they are; None for random values.
        builder: the network; only needed where the weights do not say it.
        class_names: names by label, with or without the background first; only where the weights do not say them.
        num_classes: with the background; checked against the weights.
        progress: whether downloads show a bar.
        limit: seconds that a download may take, None for as long as it goes on.

    Raises:
        WeightsError: they are unknown, missing or broken, or do not fit what else was given.
        SettingsError: the builder or the class names are wrong.
    """
    if builder is not None:
        builder_of(builder)
    if weights is None:
        count = num_classes or (91 if class_names is None else len(_with_background(class_names)))
        found = Weights("random", builder or DEFAULT_BUILDER, _default_names(count))
    elif isinstance(weights, Weights):
        found = weights
    elif isinstance(weights, WeightsEnum):
        found = _named(weights, progress, limit)
    else:
        found = _from_text(os.fspath(weights), builder, progress, limit)
    if builder is not None and builder != found.builder:
        raise WeightsError(f"the weights {found.name} are for {found.builder}, not for {builder}")
    return _checked_names(found, class_names, num_classes)


def save(
    path: str | os.PathLike[str], weights: Weights, *, half: bool = False, extra: Mapping[str, str] | None = None
) -> Path:
    """Writes a safetensors file that is enough by itself: values, builder, class names and arguments.

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
        with replacing(path) as temporary:
            safetensors.torch.save_file(state, temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written ({error}); what was there before is kept") from error
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


def _from_text(text: str, builder: str | None, progress: bool, limit: float | None) -> Weights:
    if text == BUNDLED:
        return _from_file(BUNDLED_FILE, BUNDLED, builder)
    if "://" in text:
        return _from_file(_fetched(text, progress, limit), urldefrag(text).url, builder)
    enum_name, _, member = text.rpartition(".")
    for name, entry in BUILDERS.items():
        if enum_name and entry.weights is not None and entry.weights.__name__ == enum_name:
            return _named(_member(entry.weights, member), progress, limit)
        if name == (builder or DEFAULT_BUILDER) and entry.weights is not None and text in _members(entry.weights):
            return _named(_member(entry.weights, text), progress, limit)
    if text == "DEFAULT":
        return _from_file(BUNDLED_FILE, BUNDLED, builder)
    for path in (Path(text).expanduser(), folder() / text):
        if path.is_file():
            return _from_file(path, path.name, builder)
    enum = builder_of(builder or DEFAULT_BUILDER).weights
    names = list(dict.fromkeys([BUNDLED, "DEFAULT", *(_members(enum) if enum else [])]))
    raise WeightsError(f"unknown weights {text!r}: no such file, and no such name ({nearest(text, names)})")


def _members(enum: type[WeightsEnum]) -> list[str]:
    return list(enum.__members__)


def _member(enum: type[WeightsEnum], name: str) -> WeightsEnum:
    if name not in _members(enum):
        raise WeightsError(f"unknown weights {enum.__name__}.{name}: {nearest(name, _members(enum))}")
    return enum[name]


def _named(member: WeightsEnum, progress: bool, limit: float | None) -> Weights:
    if not any(entry.weights is type(member) for entry in BUILDERS.values()):
        raise WeightsError(f"{member} are not weights of a Mask R-CNN that is known here: {', '.join(BUILDERS)}")
    return _of_member(member, _file_of(member, progress, limit))


def _of_member(member: WeightsEnum, path: Path) -> Weights:
    builder = next(name for name, entry in BUILDERS.items() if entry.weights is type(member))
    eps = 0.0 if str(member) == "MaskRCNN_ResNet50_FPN_Weights.COCO_V1" else None  # torchvision's overwrite_eps
    return Weights(member.name, builder, tuple(member.meta["categories"]), _read_pth(path), norm_eps=eps)


def fetch(name: str, *, progress: bool = True) -> Path:
    """The file of torchvision's weights (``"MaskRCNN_ResNet50_FPN_Weights.COCO_V1"``), downloaded if need be.

    Raises:
        WeightsError: they are unknown, or cannot be downloaded.
    """
    enum_name, _, member = name.rpartition(".")
    for entry in BUILDERS.values():
        if entry.weights is not None and entry.weights.__name__ == enum_name:
            return _file_of(_member(entry.weights, member), progress, None)
    raise WeightsError(f"unknown weights {name!r}")


def backbone_state(builder: str, weights: WeightsEnum | str, *, progress: bool = True) -> dict[str, torch.Tensor]:
    """The values of torchvision's backbone weights (an enum member, its string, or a ``.pth`` file), for the body."""
    enum = builder_of(builder).backbone_weights
    if isinstance(weights, str) and Path(weights).is_file():
        state = _read_pth(Path(weights))
    else:
        if isinstance(weights, str):
            weights = _member(enum, weights.removeprefix(f"{enum.__name__}."))
        if not isinstance(weights, enum):
            raise WeightsError(f"{builder} takes backbone weights of {enum.__name__}, not {weights}")
        state = _read_pth(_file_of(weights, progress, None))
    prefix = "features."  # torchvision's MobileNetV2 keeps its body under this name
    return {
        name.removeprefix(prefix): value for name, value in state.items() if not name.startswith(("fc.", "classifier."))
    }


def _file_of(member: WeightsEnum, progress: bool, limit: float | None) -> Path:
    name = _file_name(member)
    prefix = match.group(1) if (match := re.search(r"-([0-9a-f]{8,})\.", name)) else ""
    if path := cached_file(name):
        if not sha256(path).startswith(prefix):
            raise WeightsError(f"{path}: the sha256 does not begin with {prefix}: delete the file, it is broken")
        return path
    try:
        return download(member.url, folder() / name, sha256_prefix=prefix, progress=progress, limit=limit)
    except WeightsError as error:
        raise WeightsError(
            f"{error}. Without that connection, put the file {name} into {folder()}, "
            f'or use weights="{BUNDLED}" (people only)'
        ) from error


def _fetched(url: str, progress: bool, limit: float | None) -> Path:
    address, fragment = urldefrag(url)
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if urlsplit(address).scheme != "https" or match is None:
        raise WeightsError(f"{url}: a weights URL is https and ends in #sha256= and the 64 hex digits of its file")
    digest, name = match.group(1).lower(), Path(urlsplit(address).path).name
    path = folder() / f"{digest[:12]}-{name}"
    if path.is_file() and sha256(path) == digest:
        return path
    return download(address, path, sha256_prefix=digest, progress=progress, limit=limit)


def _from_file(path: Path, name: str, builder: str | None) -> Weights:
    if path.suffix == ".safetensors":
        return _read_safetensors(path, name, builder)
    if path.suffix not in (".pth", ".pt"):
        raise WeightsError(f"{path}: weights are .safetensors or .pth files")
    for entry in BUILDERS.values():
        for member in entry.weights or ():
            if path.name == _file_name(member):  # torchvision's own file, fetched by hand
                return _of_member(member, path)
    state = _read_pth(path)
    return Weights(name, builder or DEFAULT_BUILDER, _default_names(_count(state, path)), state)


def _read_pth(path: Path) -> dict[str, torch.Tensor]:
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


def _read_safetensors(path: Path, name: str, builder: str | None) -> Weights:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = safetensors.torch.load_file(path)
        if metadata.get("maskbridge", _FORMAT) != _FORMAT:
            raise WeightsError(f"{path}: written by a newer maskbridge (format {metadata['maskbridge']})")
        if "maskbridge" not in metadata:
            return Weights(name, builder or DEFAULT_BUILDER, _default_names(_count(state, path)), state)
        class_names, arguments = json.loads(metadata["class_names"]), json.loads(metadata["arguments"])
        return Weights(name, metadata["builder"], tuple(class_names), state, arguments, json.loads(metadata["norm_eps"]))
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a weights file ({error})") from error


def _file_name(member: WeightsEnum) -> str:
    return Path(urlsplit(member.url).path).name


def _count(state: Mapping[str, torch.Tensor], path: Path) -> int:
    key = "roi_heads.box_predictor.cls_score.weight"
    if key not in state or state[key].ndim != 2:
        raise WeightsError(f"{path}: has no {key}, so it is no Mask R-CNN of torchvision's")
    return int(state[key].shape[0])


def _default_names(count: int) -> tuple[str, ...]:
    return (BACKGROUND, *(f"class_{label}" for label in range(1, count)))


def _with_background(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise SettingsError("class_names is a list of names, not one string")
    return tuple(names) if names and names[0] == BACKGROUND else (BACKGROUND, *names)


def _checked_names(found: Weights, class_names: Sequence[str] | None, num_classes: int | None) -> Weights:
    if num_classes is not None and num_classes != len(found.class_names):
        raise SettingsError(
            f"num_classes is {num_classes}, but {found.name} has {len(found.class_names)} classes with the background"
        )
    if class_names is None:
        return found
    names = _with_background(class_names)
    if len(names) != len(found.class_names):
        raise SettingsError(
            f"class_names has {len(names) - 1} names, but {found.name} has {len(found.class_names) - 1} "
            "classes without the background"
        )
    return replace(found, class_names=names)
