"""Boxes, labels, scores and masks against torchvision's own forward, on all photos of coco-mini; an hour on two cores.

    uv run python benchmarks/equality.py [--photos 158] [--builders bundled maskrcnn_resnet50_fpn ...]

Prints for each network how many photos and objects were equal bit for bit; exits with 1 if any was not.
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


def differences(model: MaskRCNN, photo: Path) -> tuple[int, list[str]]:
    """How many objects were found, and what differs."""
    found = model.predict(photo)[0]
    with torch.no_grad():
        expected = model.network([as_float(read(photo))])[0]
    wrong = [
        name
        for name, value in (("boxes", found.boxes), ("labels", found.labels), ("scores", found.scores))
        if not np.array_equal(value, expected[name].numpy())
    ]
    if not wrong and any(
        not np.array_equal(frame, mask[0].numpy() >= 0.5) for frame, mask in zip(found.frames(), expected["masks"])
    ):
        wrong.append("masks")
    return len(found), wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=158)
    parser.add_argument("--builders", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    arguments = parser.parse_args()
    photos = sorted(SHARED.glob("*.jpg"))
    photos = photos[:: max(1, len(photos) // arguments.photos)][: arguments.photos]
    failed = False
    for name in arguments.builders:
        model, objects, equal = NETWORKS[name](), 0, 0
        for photo in track(photos, description=name, transient=True):
            count, wrong = differences(model, photo)
            objects, equal = objects + count, equal + (not wrong)
            if wrong:
                print(f"{name}: {photo.name}: {', '.join(wrong)} differ")
        print(f"{name}: {equal} of {len(photos)} photos equal, {objects} objects")
        failed |= equal < len(photos)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
