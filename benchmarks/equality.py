"""Boxes, labels, scores and masks against torchvision's own forward, on all images of coco-mini; an hour on two cores.

    uv run python benchmarks/equality.py [--images 158] [--builders bundled maskrcnn_resnet50_fpn ...]

Prints for each network how many images and objects were equal bit for bit; exits with 1 if any was not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.images import as_float, read
from seeded import LARGE, seeded

SHARED = Path(__file__).resolve().parents[2] / "shared" / "coco-mini" / "images"
NETWORKS = {
    "bundled": lambda: MaskRCNN("bundled"),
    "maskrcnn_resnet50_fpn": lambda: seeded("maskrcnn_resnet50_fpn", anchors=LARGE, frozen=True),
    "maskrcnn_resnet50_fpn_v2": lambda: seeded("maskrcnn_resnet50_fpn_v2", anchors=LARGE),
}


def differences(model: MaskRCNN, image: Path) -> tuple[int, list[str]]:
    """How many objects were detected, and which values differ."""
    instances = model.predict(image)[0]
    with torch.no_grad():
        expected = model.network([as_float(read(image))])[0]
    different = [
        name
        for name, value in (("boxes", instances.boxes), ("labels", instances.labels), ("scores", instances.scores))
        if not np.array_equal(value, expected[name].numpy())
    ]
    if not different and any(
        not np.array_equal(frame, mask[0].numpy() >= 0.5) for frame, mask in zip(instances.frames(), expected["masks"])
    ):
        different.append("masks")
    return len(instances), different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=158)
    parser.add_argument("--builders", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    arguments = parser.parse_args()
    images = sorted(SHARED.glob("*.jpg"))
    images = images[:: max(1, len(images) // arguments.images)][: arguments.images]
    failed = False
    for name in arguments.builders:
        model, objects, equal = NETWORKS[name](), 0, 0
        for image in track(images, description=name, transient=True):
            count, different = differences(model, image)
            objects, equal = objects + count, equal + (not different)
            if different:
                print(f"{name}: {image.name}: {', '.join(different)} differ")
        print(f"{name}: {equal} of {len(images)} images equal, {objects} objects")
        failed |= equal < len(images)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
