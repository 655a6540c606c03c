"""The adapter on a GPU: against torchvision's own forward, how exact it is and how fast.

    python benchmarks/gpu.py [--seconds 3]

The same seeded network and the same images of 640 x 480, 100 objects each, tensors on the CPU at first and results on the
CPU in the end. Torchvision's forward pastes full-size masks, ours returns crops. The two alternate; medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from maskbridge.adapter import MaskRCNN
from seeded import seeded

BATCH_SIZES = (1, 8, 32)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of one measurement")
    options = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch.manual_seed(0)
    images = [torch.randint(0, 255, (3, 480, 640), dtype=torch.uint8) for _ in range(max(BATCH_SIZES))]
    source = seeded("maskrcnn_resnet50_fpn", frozen=True)
    models = {name: MaskRCNN(source.weights, device="cuda", precision=name) for name in ("float32", "bfloat16")}
    agreement(models["float32"], images[:8])
    for batch_size in BATCH_SIZES:
        batch = images[:batch_size]
        runs: dict[str, Callable[[], Any]] = {
            name: partial(model.predict_read, batch, model.settings()) for name, model in models.items()
        }
        runs["torchvision"] = partial(forward, models["float32"], batch)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                rates[name].append(batch_size * calls_per_second(run, options.seconds))
        for name, values in rates.items():
            median = statistics.median(values)
            spread = f"{min(values):.1f} to {max(values):.1f}"
            ratio = median / statistics.median(rates["torchvision"])
            print(f"batch {batch_size}: {name}: {median:.1f} images per second ({spread}), {ratio:.2f} times")


def forward(model: MaskRCNN, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Torchvision's own forward, results on the CPU as ours are."""
    with torch.inference_mode():
        results = model.network([image.cuda() / 255 for image in images])
    return [{name: value.cpu() for name, value in result.items()} for result in results]


def agreement(model: MaskRCNN, images: list[torch.Tensor]) -> None:
    """Prints how far boxes, labels, scores and masks are from torchvision's, image by image."""
    boxes = scores = 0.0
    labels = pixels = objects = 0
    for image in images:
        (instances,), (expected,) = model.predict_read([image], model.settings()), forward(model, [image])
        objects += len(instances)
        boxes = max(boxes, float(np.abs(instances.boxes - expected["boxes"].numpy()).max(initial=0)))
        scores = max(scores, float(np.abs(instances.scores - expected["scores"].numpy()).max(initial=0)))
        labels += int((instances.labels != expected["labels"].numpy()).sum())
        frames = zip(instances.frames(), expected["masks"])
        pixels += sum(int((frame != (mask[0].numpy() >= 0.5)).sum()) for frame, mask in frames)
    print(f"{objects} objects: boxes {boxes:.2g} px, scores {scores:.2g}, {labels} labels, {pixels} mask pixels differ")


def calls_per_second(run: Callable[[], Any], seconds: float) -> float:
    """How often a function runs in a second, after one call that does not count."""
    run()
    torch.cuda.synchronize()
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        torch.cuda.synchronize()
        calls += 1
    return calls / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
