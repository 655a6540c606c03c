"""Whether training learns: overfits eight images of coco-mini.

    uv run python benchmarks/overfitting.py [--epochs 120]

The first eight images of the train split whose objects are all at least 60 pixels wide and high, with all their classes;
from the bundled weights, without mirroring and scaling. Prints the mask AP50 on the same images, which should be 0.9 or
more; takes about five minutes on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.datasets.coco_dataset import read_coco
from maskbridge.adapter.datasets.labeled_dataset import LabeledImage
from maskbridge.adapter.evaluation.measure import evaluate
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.training.run import train
from maskbridge.adapter.training.settings import TrainingSettings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "coco-mini"


def is_large(image: LabeledImage) -> bool:
    """Whether it has objects, all of them at least 60 pixels wide and high."""
    boxes = image.instances.boxes
    return len(boxes) > 0 and bool((boxes[:, 2:] - boxes[:, :2]).min() >= 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=120)
    arguments = parser.parse_args()
    labeled = read_coco(SHARED / "instances.json", split="train2017")
    images = replace(labeled, images=tuple(filter(is_large, labeled))[:8], skipped=())
    names = sorted({name for image in images for name in image.instances.names})
    settings = TrainingSettings(epochs=arguments.epochs, batch_size=4, learning_rate=1e-3, flip=0, scale_jitter=None)
    with tempfile.TemporaryDirectory() as folder:
        start = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments={"min_size": 224, "max_size": 298}))
        report = train(start, images, folder, settings, class_names=names)
        evaluation = run_to_end(evaluate(MaskRCNN(str(report.last)), images, class_names=names))
    print(f"{', '.join(image.name for image in images)}: {evaluation.objects} objects of {len(names)} classes")
    for kind, scores in evaluation.scores.items():
        print(f"{kind}: AP {scores.numbers['AP']:.3f}, AP50 {scores.numbers['AP50']:.3f}")


if __name__ == "__main__":
    main()
