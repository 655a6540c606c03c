"""The seeded ResNet-50 with all layers in int8, whatever they lose, for `apply_model.py --int8` and speed alone.

    uv run python benchmarks/int8.py resnet50-int8.safetensors

Random weights have no accuracy to lose; what trained weights lose, ``maskbridge quantize`` measures.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.engines import openvino_engine
from maskbridge.adapter.engines.graphs import parts_of
from maskbridge.adapter.images import read
from maskbridge.adapter.network import input_batch
from maskbridge.adapter.quantization.layers import candidates, layers_of, quantize_trunk
from maskbridge.adapter.weights.checkpoints import save
from maskbridge.adapter.weights.quantized import Loss, Quantized
from seeded import seeded


def all_in_int8(model: MaskRCNN, images: list[Path], out: Path) -> Path:
    """Writes weights with all layers in int8; their loss is not measured."""
    trunk, mask_head = (openvino_engine.convert(*part) for part in parts_of(model.network).values())
    layers = layers_of(trunk)

    def batch_of(index: int) -> np.ndarray:
        return input_batch(model.engine, [read(images[index])]).tensors.contiguous().numpy()

    int8 = quantize_trunk(trunk, layers, candidates(layers)[0], range(len(images)), batch_of, lambda *_: 0.0)
    graphs = {"trunk": openvino_engine.to_bytes(int8), "mask_head": openvino_engine.to_bytes(mask_head)}
    not_measured = Loss(0, 0, mask_iou=0.0, lost=1.0, gained=1.0)
    return save(out, replace(model.weights, quantized=Quantized(graphs, "all", "none", not_measured)))


if __name__ == "__main__":
    folder = Path(skimage.__file__).parent / "data"
    chosen = [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    print(all_in_int8(seeded("maskrcnn_resnet50_fpn", frozen=True), chosen, Path(sys.argv[1])))
