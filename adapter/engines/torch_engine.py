"""PyTorch as the engine: exact, on any device. The other engines replace two of its three parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.torchvision_types import Network


def variant_of(engine: EngineName, precision: Precision) -> str:
    """Engine and precision in one word; empty where results are PyTorch's in float32.

    Example:
        >>> variant_of("openvino", "int8"), variant_of("torch", "float32")
        ('openvino-int8', '')
    """
    variant = f"{engine}-{precision}"
    return "" if variant == "torch-float32" else variant


@dataclass(frozen=True)
class FeatureMaps:
    """The outputs of the trunk (backbone and feature pyramid) and the RPN head, for a batch of B inputs.

    Attributes:
        levels: float32 [B, C, h, w] by level name.
        objectness: for each level float32 [B, A, h, w], A anchors at each position.
        deltas: for each level float32 [B, 4 * A, h, w].
    """

    levels: dict[str, torch.Tensor]
    objectness: list[torch.Tensor]
    deltas: list[torch.Tensor]


class TorchEngine:
    """Runs the layers of a network in PyTorch.

    Args:
        network: the network, in evaluation mode; it is shared, not copied.
        precision: of the arithmetic; see `maskbridge.adapter.engines.devices.checked_precision`.
        autocast: the precision's dtype for automatic mixed precision, None for float32.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> MaskRCNN("bundled", device="cpu").engine.feature_maps(torch.zeros(1, 3, 64, 96)).levels["0"].shape
        torch.Size([1, 96, 16, 24])
    """

    name: EngineName = "torch"
    memory_format: torch.memory_format = torch.channels_last
    """The fastest memory format of a batch."""

    def __init__(self, network: Network, precision: Precision = "float32", autocast: torch.dtype | None = None) -> None:
        self.network, self.precision, self._autocast = network, precision, autocast

    def __repr__(self) -> str:
        return f"device={str(self.device)!r}, engine={self.name!r}, precision={self.precision!r}"

    @property
    def variant(self) -> str:
        """See `variant_of`."""
        return variant_of(self.name, self.precision)

    @property
    def device(self) -> torch.device:
        """The device of the network's parameters."""
        return next(self.network.parameters()).device

    def feature_maps(self, batch: torch.Tensor) -> FeatureMaps:
        """Runs the trunk and the RPN head.

        Args:
            batch: float32 [B, 3, h, w], normalized and padded.
        """
        with self._mixed_precision():
            levels = self.network.backbone(batch)
            objectness, deltas = self.network.rpn.head(list(levels.values()))
        # RoIAlign needs contiguous levels: one copy here instead of one in each head.
        return FeatureMaps(
            {name: level.float().contiguous() for name, level in levels.items()},
            [level.float() for level in objectness],
            [level.float() for level in deltas],
        )

    def box_head(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits float32 [N, num_classes] and deltas float32 [N, 4 * num_classes] of pooled features [N, C, 7, 7]."""
        heads = self.network.roi_heads
        with self._mixed_precision():
            logits, deltas = heads.box_predictor(heads.box_head(pooled))
        return logits.float(), deltas.float()

    def mask_head(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits float32 [N, num_classes, 28, 28] of pooled features [N, C, 14, 14], for N of 1 or more."""
        heads = self.network.roi_heads
        with self._mixed_precision():
            return heads.mask_predictor(heads.mask_head(pooled)).float()

    @contextlib.contextmanager
    def _mixed_precision(self) -> Iterator[None]:
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None):
            yield
