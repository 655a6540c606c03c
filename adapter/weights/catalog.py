"""The weights on this machine, and those that can be downloaded. Imports no torch, so that forms open quickly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import safetensors

from maskbridge.adapter.weights.quantized import read_loss

BUNDLED = "bundled"
BUNDLED_FILE = Path(__file__).parents[1] / "data" / "person-tiny.safetensors"

DOWNLOADS = {
    "MaskRCNN_ResNet50_FPN_Weights.COCO_V1": ("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", 178_090_079),
    "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1": ("maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth", 186_097_921),
}
"""torchvision's weights: by the enum member's name, the file and its bytes."""


@dataclass(frozen=True)
class Entry:
    """Weights that can be chosen by name.

    Attributes:
        weights: what `maskbridge.adapter.MaskRCNN` takes for them.
        label: what forms show.
        local: whether they are on this machine.
        size: bytes of the file.
        class_names: without the background; None if the file does not name them.
        loss: what their layers in int8 lose, in words; empty for weights in float32.
    """

    weights: str
    label: str
    local: bool
    size: int
    class_names: tuple[str, ...] | None
    loss: str = ""


def weights_folder() -> Path:
    """Where downloaded and trained weights live: ``MASKBRIDGE_HOME``, else ``~/.cache/maskbridge``."""
    return Path(os.environ.get("MASKBRIDGE_HOME") or Path.home() / ".cache" / "maskbridge").expanduser() / "weights"


def training_runs() -> Path:
    """The folder of FiftyOne's and Label Studio's training runs, each in a folder of its own, beside `weights_folder`."""
    return weights_folder().parent / "training_runs"


def cached_file(name: str) -> Path | None:
    """A downloaded file of this name, in `weights_folder` or where torch keeps its own downloads; None if there is none."""
    torch_home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    candidates = (weights_folder() / name, Path(torch_home).expanduser() / "hub" / "checkpoints" / name)
    return next((path for path in candidates if path.is_file()), None)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors file's header; empty if there is none or the file is invalid."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return {}


def class_names_of(path: Path) -> tuple[str, ...] | None:
    """The class names in a weights file of Maskbridge, without the background; None if it does not name them.

    Example:
        >>> class_names_of(BUNDLED_FILE)
        ('person',)
    """
    return _class_names_in(read_metadata(path))


def _class_names_in(metadata: dict[str, str]) -> tuple[str, ...] | None:
    try:
        return tuple(json.loads(metadata["class_names"])[1:])
    except (KeyError, ValueError, TypeError):
        return None


def loss_of(path: Path) -> str:
    """What the layers in int8 of a weights file lose, in words; empty for weights in float32.

    Example:
        >>> loss_of(BUNDLED_FILE)
        ''
    """
    return _loss_in(read_metadata(path))


def _loss_in(metadata: dict[str, str]) -> str:
    loss = read_loss(metadata)
    return "" if loss is None else str(loss)


def entries() -> list[Entry]:
    """All weights that can be chosen by name: those on this machine first, those in int8 last of them, then downloads."""
    result = []
    for name, (file, size) in DOWNLOADS.items():
        label = "COCO, ResNet-50" + (" v2" if "_V2_" in name else "") + ", 80 classes"
        result.append(Entry(name, label, cached_file(file) is not None, size, None))
    for path in sorted(weights_folder().glob("*.safetensors")):
        metadata = read_metadata(path)  # once: each file is opened for it
        names = _class_names_in(metadata)
        if names is not None:
            summary = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            loss = _loss_in(metadata)
            label = f"{path.stem} ({summary}{', int8' if loss else ''})"
            result.append(Entry(path.name, label, True, path.stat().st_size, names, loss))
    bundled = Entry(BUNDLED, "Bundled, small: people only", True, BUNDLED_FILE.stat().st_size, class_names_of(BUNDLED_FILE))
    return sorted([*result, bundled], key=lambda entry: (not entry.local, bool(entry.loss)))
