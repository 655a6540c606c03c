"""Weights by name: bundled, torchvision's, a file, a URL."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urldefrag, urlsplit

import torch
from pydantic import Field, TypeAdapter
from torchvision.models import WeightsEnum

from maskbridge.adapter.builders import BUILDERS, DEFAULT_BUILDER, builder_of
from maskbridge.adapter.errors import SettingsError, WeightsError, nearest
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.validation import validate
from maskbridge.adapter.weights import state_dicts
from maskbridge.adapter.weights.catalog import BUNDLED, BUNDLED_FILE, cached_file, weights_folder
from maskbridge.adapter.weights.checkpoints import Weights, default_names, from_state, read_safetensors
from maskbridge.adapter.weights.download import download, sha256

WeightsLike: TypeAlias = "str | os.PathLike[str] | WeightsEnum | Weights | None"
"""What `resolve` takes: a name, a file, an https URL with a sha256, torchvision's enum member, `Weights`, None for random
values."""


def resolve(
    weights: WeightsLike,
    *,
    builder: str | None = None,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    norm_eps: float | None = None,
    progress: bool = True,
    limit: float | None = None,
) -> Weights:
    """Resolves weights, downloads them if necessary, and reads them.

    Args:
        weights: ``"bundled"``; torchvision's enum member or its string (``"DEFAULT"``, ``"COCO_V1"``,
            ``"MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1"``); a file that safetensors or torch wrote (also just its name,
            if it is in `weights_folder`); ``"https://…#sha256=…"``; `Weights` as they are; None for random values.
        builder: the network; only needed if the weights do not name it.
        class_names: names by label, with or without the background first; only if the weights do not name them.
        num_classes: with the background; checked against the weights.
        norm_eps: epsilon of the frozen batch norms; by default the weights' own.
        progress: whether downloads show a bar.
        limit: seconds that a download may take, None for no limit.

    Raises:
        WeightsError: they are unknown, missing or corrupt, or do not fit the other arguments.
        SettingsError: the builder or the class names are invalid.

    Example:
        >>> resolve("bundled").class_names
        ('__background__', 'person')
        >>> resolve(None, class_names=["cat", "dog"]).class_names
        ('__background__', 'cat', 'dog')
    """
    if builder is not None:
        builder_of(builder)
    if weights is None:
        count = num_classes or (91 if class_names is None else len(_with_background(class_names)))
        resolved = Weights("random", builder or DEFAULT_BUILDER, default_names(count))
    elif isinstance(weights, Weights):
        resolved = weights
    elif isinstance(weights, WeightsEnum):
        resolved = _from_enum(weights, progress, limit)
    else:
        resolved = _from_string(os.fspath(weights), builder, norm_eps, progress=progress, limit=limit)
    if builder is not None and builder != resolved.builder:
        raise WeightsError(f"the weights {resolved.name} are for {resolved.builder}, not for {builder}")
    if norm_eps is not None:
        resolved = replace(resolved, norm_eps=validate("norm_eps", norm_eps, _NORM_EPS))
    return _with_class_names(resolved, class_names, num_classes)


_NORM_EPS: TypeAdapter[float] = TypeAdapter(Annotated[float, Field(ge=0, le=1)])


def _from_string(text: str, builder: str | None, norm_eps: float | None, *, progress: bool, limit: float | None) -> Weights:
    if text == BUNDLED:
        return replace(_from_file(BUNDLED_FILE, builder), name=BUNDLED)
    if "://" in text:
        downloaded = _from_file(_downloaded(text, progress, limit), builder, norm_eps)
        return replace(downloaded, name=urldefrag(text).url)
    enum_name, _, member = text.rpartition(".")
    for name, entry in BUILDERS.items():
        if enum_name and entry.weights is not None and entry.weights.__name__ == enum_name:
            return _from_enum(_member(entry.weights, member), progress, limit)
        if name == (builder or DEFAULT_BUILDER) and entry.weights is not None and text in _members(entry.weights):
            return _from_enum(_member(entry.weights, text), progress, limit)
    if text == "DEFAULT":
        return replace(_from_file(BUNDLED_FILE, builder), name=BUNDLED)
    for path in (Path(text).expanduser(), weights_folder() / text):
        if path.is_file():
            return _from_file(path, builder, norm_eps)
    enum = builder_of(builder or DEFAULT_BUILDER).weights
    names = list(dict.fromkeys([BUNDLED, "DEFAULT", *(_members(enum) if enum else [])]))
    raise WeightsError(f"unknown weights {text!r}: no such file, and no such name ({nearest(text, names)})")


def _members(enum: type[WeightsEnum]) -> list[str]:
    return list(enum.__members__)


def _member(enum: type[WeightsEnum], name: str) -> WeightsEnum:
    if name not in _members(enum):
        raise WeightsError(f"unknown weights {enum.__name__}.{name}: {nearest(name, _members(enum))}")
    return enum[name]


def _from_enum(member: WeightsEnum, progress: bool, limit: float | None) -> Weights:
    if not any(entry.weights is type(member) for entry in BUILDERS.values()):
        raise WeightsError(f"{member} are not weights of a Mask R-CNN that Maskbridge supports: {', '.join(BUILDERS)}")
    return _read_member(member, _member_file(member, progress, limit))


def _read_member(member: WeightsEnum, path: Path) -> Weights:
    builder = next(name for name, entry in BUILDERS.items() if entry.weights is type(member))
    eps = 0.0 if str(member) == "MaskRCNN_ResNet50_FPN_Weights.COCO_V1" else None  # torchvision's overwrite_eps
    return Weights(member.name, builder, tuple(member.meta["categories"]), state_dicts.mask_rcnn_state(path), norm_eps=eps)


def fetch(name: str, *, progress: bool = True) -> Path:
    """The file of torchvision's weights (``"MaskRCNN_ResNet50_FPN_Weights.COCO_V1"``), downloaded if needed.

    Raises:
        WeightsError: they are unknown, or cannot be downloaded.
    """
    enum_name, _, member = name.rpartition(".")
    for entry in BUILDERS.values():
        if entry.weights is not None and entry.weights.__name__ == enum_name:
            return _member_file(_member(entry.weights, member), progress, None)
    raise WeightsError(f"unknown weights {name!r}")


def backbone_state(builder: str, weights: WeightsEnum | str, *, progress: bool = True) -> dict[str, torch.Tensor]:
    """The values of torchvision's backbone weights (an enum member, its string, or a ``.pth`` file), for the body."""
    enum = builder_of(builder).backbone_weights
    if isinstance(weights, str) and Path(weights).is_file():
        state = state_dicts.backbone_state(Path(weights))
    else:
        if isinstance(weights, str):
            weights = _member(enum, weights.removeprefix(f"{enum.__name__}."))
        if not isinstance(weights, enum):
            raise WeightsError(f"{builder} takes backbone weights of {enum.__name__}, not {weights}")
        state = state_dicts.backbone_state(_member_file(weights, progress, None))
    prefix = "features."  # torchvision's MobileNetV2 keeps its body under this name
    return {
        name.removeprefix(prefix): value for name, value in state.items() if not name.startswith(("fc.", "classifier."))
    }


def _member_file(member: WeightsEnum, progress: bool, limit: float | None) -> Path:
    name = _file_name(member)
    prefix = match.group(1) if (match := re.search(r"-([0-9a-f]{8,})\.", name)) else ""
    if path := cached_file(name):
        if not sha256(path).startswith(prefix):
            raise WeightsError(f"{path}: the sha256 does not start with {prefix}: delete the file, it is corrupt")
        return path
    try:
        return download(member.url, weights_folder() / name, sha256_prefix=prefix, progress=progress, limit=limit)
    except WeightsError as error:
        raise WeightsError(
            f"{error}. Without that connection, put the file {name} into {weights_folder()}, "
            f'or use weights="{BUNDLED}" (people only)'
        ) from error


def _downloaded(url: str, progress: bool, limit: float | None) -> Path:
    address, fragment = urldefrag(url)
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if urlsplit(address).scheme != "https" or match is None:
        raise WeightsError(f"{url}: a weights URL is https and ends in #sha256= and the 64 hex digits of its file")
    digest, name = match.group(1).lower(), Path(urlsplit(address).path).name
    path = weights_folder() / f"{digest[:12]}-{name}"
    if path.is_file() and sha256(path) == digest:
        return path
    return download(address, path, sha256_prefix=digest, progress=progress, limit=limit)


def _from_file(path: Path, builder: str | None, norm_eps: float | None = None) -> Weights:
    if path.suffix == ".onnx":
        raise WeightsError(
            f"{path}: an ONNX file holds no weights for PyTorch. Use those it was exported from{_origin(path)}"
        )
    if state_dicts.is_safetensors(path):
        return read_safetensors(path, builder, norm_eps)
    for entry in BUILDERS.values():
        for member in entry.weights or ():
            if path.name == _file_name(member):  # torchvision's own file, downloaded by hand
                return _read_member(member, path)
    return from_state(state_dicts.mask_rcnn_state(path), path, builder, norm_eps)


def _origin(path: Path) -> str:
    """The name of the weights in the metadata at the end of an ONNX file, as `maskbridge.adapter.export` writes it."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 65536, 0))
        named = re.search(rb'"weights": ("(?:[^"\\]|\\.)*")', file.read())
    try:
        return "" if named is None else f": {json.loads(named[1])}"
    except ValueError:
        return ""


def _file_name(member: WeightsEnum) -> str:
    return Path(urlsplit(member.url).path).name


def _with_background(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise SettingsError("class_names is a list of names, not one string")
    return tuple(names) if names and names[0] == BACKGROUND else (BACKGROUND, *names)


def _with_class_names(resolved: Weights, class_names: Sequence[str] | None, num_classes: int | None) -> Weights:
    if num_classes is not None and num_classes != len(resolved.class_names):
        raise SettingsError(
            f"num_classes is {num_classes}, but {resolved.name} has {len(resolved.class_names)} classes with the background"
        )
    if class_names is None:
        return resolved
    names = _with_background(class_names)
    if len(names) != len(resolved.class_names):
        raise SettingsError(
            f"class_names has {len(names) - 1} names, but {resolved.name} has {len(resolved.class_names) - 1} "
            "classes without the background"
        )
    return replace(resolved, class_names=names)
