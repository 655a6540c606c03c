"""The parts of a network that other engines run, as graphs of their own, and the engine that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from maskbridge.adapter.engines.torch_engine import FeatureMaps, TorchEngine
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.torchvision_types import Network

Graph: TypeAlias = "Callable[[np.ndarray], Sequence[np.ndarray]]"
"""A compiled part: an input (float32, contiguous) to its outputs (float32). Threads may share it."""


class Trunk(nn.Module):
    """Trunk and RPN head: a batch to all levels, then all objectness, then all deltas.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> len(Trunk(MaskRCNN("bundled", device="cpu").network)(torch.zeros(1, 3, 64, 64)))
        15
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.rpn.head

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = list(self.backbone(batch).values())
        objectness, deltas = self.head(levels)
        return (*levels, *objectness, *deltas)


class MaskHead(nn.Module):
    """The mask head: pooled features to the logits of all classes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.head, self.predictor = network.roi_heads.mask_head, network.roi_heads.mask_predictor

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.head(pooled))


def parts_of(network: Network) -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """The parts by name, each with an example of its input; all axes but the channels may have any size.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> list(parts_of(MaskRCNN("bundled", device="cpu").network))
        ['trunk', 'mask_head']
    """
    channels = network.backbone.out_channels
    return {
        "trunk": (Trunk(network).eval(), torch.zeros(1, 3, 256, 320)),
        "mask_head": (MaskHead(network).eval(), torch.zeros(2, channels, 14, 14)),
    }


class GraphEngine(TorchEngine):
    """Runs trunk, RPN head and mask head as another library's graphs; the box head stays in PyTorch, which is faster.

    The graphs have the weights that the network had when they were made: changing the network does not change them.

    Args:
        network: the network, on the CPU.
        name: the engine's name.
        precision: of the graphs' arithmetic.
        graphs: compiled parts, named as by `parts_of`.
    """

    memory_format = torch.contiguous_format

    def __init__(self, network: Network, name: EngineName, precision: Precision, graphs: dict[str, Graph]) -> None:
        super().__init__(network)
        self.name, self.precision, self._graphs = name, precision, graphs
        with torch.inference_mode():
            self._level_names = list(network.backbone(torch.zeros(1, 3, 64, 64)))

    def feature_maps(self, batch: torch.Tensor) -> FeatureMaps:
        """Runs the trunk and the RPN head (see `TorchEngine.feature_maps`)."""
        outputs = self._run("trunk", batch)
        count = len(self._level_names)
        levels = dict(zip(self._level_names, outputs))
        return FeatureMaps(levels, outputs[count : 2 * count], outputs[2 * count :])

    def mask_head(self, pooled: torch.Tensor) -> torch.Tensor:
        """Runs the mask head (see `TorchEngine.mask_head`)."""
        return self._run("mask_head", pooled)[0]

    def _run(self, name: str, value: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(output) for output in self._graphs[name](value.contiguous().numpy())]
