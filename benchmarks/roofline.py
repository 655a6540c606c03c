"""How much of this machine's arithmetic each step of a prediction uses, with each engine.

    uv run python benchmarks/roofline.py [--builder maskrcnn_resnet50_fpn] [--size 640 480] [--rounds 5]

A layer of M outputs at N positions with K inputs each takes M * K * N multiply-accumulates (MAC, two operations), as a
direct convolution. The machine's own rate is that of PyTorch's float32 products of matrices with the network's own M, K
and N, one after another; a step's share is its MACs over its time, divided by that rate. Winograd's algorithm needs fewer
multiplications than a direct convolution, so that a share may exceed 100 %. ResNet-50 has seeded random weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskbridge.adapter import MaskRCNN, network
from maskbridge.adapter import mask_rcnn as mask_rcnn_module
from measured import add_time, machine
from seeded import LARGE, seeded

OBJECTS = 35
STEPS = ("trunk", "box head", "mask head", "proposals", "pooling", "selection", "pasting", "resizing")
"""The first three are the network's layers."""


@dataclass(frozen=True)
class Product:
    """A layer as a product of matrices: [m, k] by [k, n]."""

    step: str
    m: int
    k: int
    n: int

    @property
    def gmac(self) -> float:
        return self.m * self.k * self.n / 1e9


def products(model: MaskRCNN, image: Any, threshold: float) -> list[Product]:
    """The convolutions and linear layers that a prediction runs."""
    rows: list[Product] = []
    parts = {"backbone": "trunk", "rpn": "trunk", "roi_heads.box": "box head", "roi_heads.mask": "mask head"}

    def record(name: str) -> Any:
        step = next(step for prefix, step in parts.items() if name.startswith(prefix))

        def hook(layer: Any, inputs: Any, output: torch.Tensor) -> None:
            if isinstance(layer, nn.Linear):
                rows.append(Product(step, layer.out_features, layer.in_features, len(output)))
            elif isinstance(layer, nn.ConvTranspose2d):
                positions = inputs[0].numel() // layer.in_channels
                rows.append(Product(step, layer.weight[0].numel(), layer.in_channels, positions))
            else:
                channels = layer.out_channels // layer.groups
                positions = output.numel() // channels
                rows.append(Product(step, channels, layer.weight[0].numel(), positions))

        return hook

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [
        layer.register_forward_hook(record(name))
        for name, layer in model.network.named_modules()
        if isinstance(layer, layers)
    ]
    model.predict(image, confidence_threshold=threshold)
    for hook in hooks:
        hook.remove()
    return rows


def gmac_per_second(rows: list[Product]) -> float:
    """The rate at which this machine multiplies matrices of these shapes, each shape timed alone."""
    seconds = 0.0
    counts: dict[tuple[int, int, int], int] = defaultdict(int)
    for row in rows:
        counts[row.m, row.k, row.n] += 1
    for (m, k, n), count in counts.items():
        a, b = torch.rand(m, k), torch.rand(k, n)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(a, b)
            times.append(time.perf_counter() - start)
        seconds += count * min(times[1:])
    return sum(row.gmac for row in rows) / seconds


def step_times(model: MaskRCNN, image: Any, threshold: float) -> tuple[dict[str, float], int]:
    """Seconds of each step of one prediction, and the number of objects."""
    seconds: dict[str, float] = {}
    engine = model.engine
    with_times = {
        "trunk": (engine, "feature_maps"),
        "box head": (engine, "box_head"),
        "mask head": (engine, "mask_head"),
        "proposals": (network, "_proposals"),
        "pooling": (network, "_pooled"),
        "selection": (network, "_select"),
        "pasting": (mask_rcnn_module, "paste"),
        "resizing": (network, "_resized"),
    }
    originals = {part: getattr(*target) for part, target in with_times.items()}
    for part, (owner, name) in with_times.items():
        add_time(owner, name, seconds, part)
    start = time.perf_counter()
    objects = len(model.predict(image, confidence_threshold=threshold)[0])
    seconds["total"] = time.perf_counter() - start
    for part, (owner, name) in with_times.items():
        setattr(owner, name, originals[part])
    return seconds, objects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builder", default="maskrcnn_resnet50_fpn")
    parser.add_argument("--size", nargs=2, type=int, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--engines", nargs="*", default=["torch", "openvino", "onnxruntime"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    image = picture(*options.size)
    models = make_models(options.builder, options.engines)
    first = models["torch"] if "torch" in models else next(iter(models.values()))
    threshold = sorted(first.predict(image)[0].scores.tolist())[-OBJECTS:][0] - 1e-6  # type: ignore[union-attr]
    rows = products(make_models(options.builder, ["torch"])["torch"], image, threshold)
    print(machine() + f", {torch.get_num_threads()} threads, {clock()}")
    square = gmac_per_second([Product("", 2048, 2048, 2048)])
    own = {step: gmac_per_second([row for row in rows if row.step == step]) for step in STEPS[:3]}
    print(f"products of 2048 x 2048 matrices: {square:.0f} GMAC/s ({2 * square:.0f} GFLOP/s)\n")
    times: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    objects = {}
    for index in range(options.rounds + 1):
        for name, model in models.items():
            row, objects[name] = step_times(model, image, threshold)
            if index:
                times[name].append(row)
    size = "{} x {}".format(*options.size)
    print(f"{options.builder}, {size}, objects: {objects}; medians of {options.rounds} rounds\n")
    print("| step | GMAC | own rate, GMAC/s | " + " | ".join(f"{name}, s | share" for name in models) + " |")
    print("|---|---|---|" + "---|---|" * len(models))
    for step in (*STEPS, "total"):
        gmac = sum(row.gmac for row in rows if row.step == step)
        cells = []
        for name in models:
            median = statistics.median(row.get(step, 0.0) for row in times[name])
            share = f"{100 * gmac / median / own[step]:.0f} %" if step in own else ""
            cells.append(f"{median:.3f} | {share}")
        figures = f"{gmac:.1f} | {own[step]:.0f}" if step in own else " | "
        print(f"| {step} | {figures} | " + " | ".join(cells) + " |")


def picture(width: int, height: int) -> Any:
    import numpy as np
    import skimage
    from PIL import Image

    with Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png") as opened:
        return np.asarray(opened.convert("RGB").resize((width, height)))


def make_models(builder: str, engines: list[str]) -> dict[str, MaskRCNN]:
    if builder == "maskrcnn_mobilenet_v2_fpn":
        return {name: MaskRCNN("bundled", device="cpu", engine=name, progress=False) for name in engines}  # type: ignore[arg-type]
    return {name: seeded(builder, anchors=LARGE, frozen=True, device="cpu", engine=name) for name in engines}


def clock() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    rates = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return f"{statistics.median(rates) / 1000:.2f} GHz" if rates else "clock unknown"


if __name__ == "__main__":
    main()
