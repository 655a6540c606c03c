"""A network's layers in int8, as a part of a weights file, and what they lose against float32."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

if TYPE_CHECKING:
    import torch

METADATA = "int8"
"""The name in a weights file's metadata."""
_PREFIX = "int8."


@dataclass(frozen=True)
class Loss:
    """What int8 loses against float32 on images of a place, at confidence 0.5 for single objects.

    Attributes:
        images: how many were compared.
        objects: that float32 detects.
        mask_iou: mean IoU of the masks that both detect; of the boxes where there are no masks.
        lost: share of the objects that only float32 detects.
        gained: objects that only int8 detects, as a share of those that float32 detects.
        ap: points of AP lost (of masks, of boxes where labels have no masks), None without labels.
    """

    images: int
    objects: int
    mask_iou: float
    lost: float
    gained: float
    ap: float | None = None

    def __str__(self) -> str:
        """In a line.

        Example:
            >>> print(Loss(50, 120, 0.971, 0.025, 0.0, ap=0.31))
            0.31 points of AP lost, mean mask IoU 0.971, 2.5 % of the objects lost and 0.0 % gained (50 images)
        """
        ap = "" if self.ap is None else f"{abs(self.ap):.2f} points of AP {'lost' if self.ap >= 0 else 'gained'}, "
        objects = f"{self.lost:.1%} of the objects lost and {self.gained:.1%} gained".replace("%", " %")
        return f"{ap}mean mask IoU {self.mask_iou:.3f}, {objects} ({self.images} images)"


_LOSS = TypeAdapter(Loss)


@dataclass(frozen=True)
class Quantized:
    """Layers in int8, as ``maskbridge quantize`` wrote them.

    Attributes:
        graphs: by part (see `maskbridge.adapter.engines.graphs.parts_of`) OpenVINO's XML and constants.
        layers: which layers are in int8.
        limit: that the loss is within.
        loss: as it was measured.
    """

    graphs: Mapping[str, tuple[bytes, bytes]] = field(repr=False)
    layers: str
    limit: str
    loss: Loss

    @cached_property
    def sha256(self) -> str:
        """Of all graphs."""
        digest = hashlib.sha256()
        for name, graph in sorted(self.graphs.items()):
            for part in (name.encode(), *graph):
                digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """The graphs as uint8 tensors, for a weights file."""
        import torch  # here, since forms read the loss of weights, and open quickly

        return {
            f"{_PREFIX}{name}.{kind}": torch.from_numpy(np.frombuffer(part, dtype=np.uint8).copy())
            for name, graph in self.graphs.items()
            for kind, part in zip(("xml", "bin"), graph)
        }

    def to_metadata(self) -> str:
        """All but the graphs, for a weights file."""
        return json.dumps({"layers": self.layers, "limit": self.limit, "loss": asdict(self.loss), "sha256": self.sha256})


def take_quantized(state: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Quantized | None:
    """Takes the layers in int8 out of a weights file's tensors; None if it has none.

    Raises:
        ValueError: they are damaged.

    Example:
        >>> import torch
        >>> quantized = Quantized({"trunk": (b"<net/>", b"123")}, "all", "", Loss(8, 9, 1.0, 0.0, 0.0))
        >>> state = {"weight": torch.zeros(3), **quantized.to_tensors()}
        >>> take_quantized(state, {"int8": quantized.to_metadata()}) == quantized, list(state)
        (True, ['weight'])
    """
    parts = {name: state.pop(name).numpy().tobytes() for name in list(state) if name.startswith(_PREFIX)}
    if METADATA not in metadata:
        return None
    described = json.loads(metadata[METADATA])
    graphs = {
        name.removeprefix(_PREFIX).removesuffix(".xml"): (part, parts[name.removesuffix("xml") + "bin"])
        for name, part in parts.items()
        if name.endswith(".xml")
    }
    if (loss := read_loss(metadata)) is None:
        raise ValueError("the loss of its layers in int8 is not described")
    quantized = Quantized(graphs, str(described["layers"]), str(described["limit"]), loss)
    if quantized.sha256 != described["sha256"]:
        raise ValueError("its layers in int8 have changed")
    return quantized


def read_loss(metadata: Mapping[str, str]) -> Loss | None:
    """The measured loss in a weights file's metadata; None if it has no layers in int8, or they are described otherwise.

    Example:
        >>> read_loss({}) is None
        True
    """
    try:
        return _LOSS.validate_python(json.loads(metadata[METADATA])["loss"])
    except (KeyError, TypeError, ValueError):
        return None
