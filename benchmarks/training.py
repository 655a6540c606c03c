"""maskbridge's training against torchvision's reference script: images per second.

    uv run python benchmarks/training.py [--rounds 3] [--device cuda] [--precisions float32 bfloat16] [--markdown FILE]

The same network weights, images in the same batches, and mirroring. torchvision's script is the one that it publishes
(references/detection/train.py), reimplemented: COCO polygons drawn by pycocotools, SGD with momentum, a linear warm-up.
Each measurement is a process of its own; the two alternate, and medians and ranges over the rounds are printed. The
measured time is that between the steps of an epoch: reading, forward, backward, optimizer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from measured import machine, result_of, spread

SHARED = Path(__file__).resolve().parents[2] / "shared" / "coco-mini"
BUILDERS = {"maskrcnn_mobilenet_v2_fpn": 20, "maskrcnn_resnet50_fpn": 6}
"""The networks, and the steps of an epoch that is measured; the first two are not counted."""
EPOCHS = {"maskrcnn_mobilenet_v2_fpn": 2, "maskrcnn_resnet50_fpn": 1}
BATCH = 2


def start_model(builder: str, device: str) -> Any:
    """The network that both train: seeded weights, frozen batch norms, 80 classes."""
    from maskbridge.adapter import MaskRCNN
    from seeded import seeded

    names = [category["name"] for category in json.loads((SHARED / "instances.json").read_text())["categories"]]
    weights = seeded(builder, spread=0.01, frozen=True, class_names=names).weights
    return MaskRCNN(weights, device=device, trainable_backbone_layers=3)


def train_images(count: int) -> Any:
    """The first images of the train split that have labels to train on."""
    from dataclasses import replace

    from maskbridge.adapter.datasets.coco_dataset import read_coco
    from maskbridge.adapter.datasets.labeled_dataset import usable

    labeled = read_coco(SHARED / "instances.json", split="train2017")
    trainable = usable(labeled, labeled.class_names)
    with_labels = {image.name for image in trainable if len(image)}
    return replace(labeled, images=tuple(image for image in labeled if image.name in with_labels)[:count], skipped=())


def settings_of(builder: str, precision: Any) -> Any:
    from maskbridge.adapter.training.settings import TrainingSettings

    return TrainingSettings(
        epochs=EPOCHS[builder], batch_size=BATCH, learning_rate=1e-5, scale_jitter=None, precision=precision
    )


def ours(builder: str, device: str, precision: Any) -> Iterator[tuple[int, float]]:
    """Epoch and time of each step of `maskbridge.adapter.train`."""
    from maskbridge.adapter.training.run import train

    images, settings = train_images(BATCH * BUILDERS[builder]), settings_of(builder, precision)
    times: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            start_model(builder, device),
            images,
            folder,
            settings,
            progress=False,
            on_step=lambda step: times.append((step.epoch, time.perf_counter())),
        )
    yield from times


def reference(builder: str, device: str, precision: str) -> Iterator[tuple[int, float]]:
    """Epoch and time of each step of torchvision's script."""
    import torch
    from pycocotools.coco import COCO
    from torch.utils.data import DataLoader

    from maskbridge.adapter.training.data import EpochBatches

    network = start_model(builder, device).network.to(memory_format=torch.contiguous_format).train()
    labeled_images = train_images(BATCH * BUILDERS[builder])
    coco = COCO(str(SHARED / "instances.json"))
    image_ids = {image["file_name"]: image_id for image_id, image in coco.imgs.items()}
    dataset = CocoImages(coco, [image_ids[image.name] for image in labeled_images])
    torch.manual_seed(0)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.9, weight_decay=1e-4)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001, total_iters=1000)
    for epoch in range(1, EPOCHS[builder] + 1):
        batches = EpochBatches(labeled_images, settings_of(builder, precision), lambda epoch=epoch: epoch - 1)
        batches_of_indices = [[index for _, index in batch] for batch in batches]
        loader: Any = DataLoader(dataset, batch_sampler=batches_of_indices, collate_fn=lambda items: tuple(zip(*items)))
        for images, targets in loader:
            images = [image.to(device) for image in images]
            targets = [{name: value.to(device) for name, value in target.items()} for target in targets]
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                losses = network(images, targets)
                total = sum(losses.values())
            assert torch.isfinite(total), losses
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            warm_up.step()
            {name: loss.item() for name, loss in losses.items()}  # its metric logger reads them
            yield epoch, time.perf_counter()


class CocoImages:
    """COCO images and targets as torchvision's script makes them: polygons drawn when an image is read."""

    def __init__(self, coco: Any, image_ids: list[int]) -> None:
        self.coco, self.image_ids = coco, image_ids

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        import torch
        from PIL import Image
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        image_id = self.image_ids[index]
        image = Image.open(SHARED / "images" / self.coco.imgs[image_id]["file_name"]).convert("RGB")
        annotations = [a for a in self.coco.imgToAnns[image_id] if not a.get("iscrowd")]
        category_ids = sorted(self.coco.cats)
        size = (image.height, image.width)
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "labels": torch.tensor([1 + category_ids.index(a["category_id"]) for a in annotations]),
            "masks": tv_tensors.Mask(np.stack([self.coco.annToMask(a) for a in annotations])),
        }
        steps = [v2.PILToTensor(), v2.RandomHorizontalFlip(0.5), v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()]
        image, target = v2.Compose(steps)(image, target)
        valid = (target["boxes"][:, 2:] > target["boxes"][:, :2]).all(dim=1)
        return image, {name: value[valid] for name, value in target.items()}


def measure(model_name: str, builder: str, device: str, precision: str) -> float:
    """Images per second between the steps of an epoch, without the first two steps."""
    run = ours if model_name == "maskbridge" else reference
    times = list(run(builder, device, precision))
    seconds = [end - start for (epoch, start), (next_epoch, end) in pairwise(times[1:]) if epoch == next_epoch]
    return BATCH * len(seconds) / sum(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="*", default=["float32"], choices=["float32", "bfloat16"])
    parser.add_argument("--markdown", type=Path, help="also write the table into this file")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, builder, precision = arguments.measure
        print(f"RESULT {measure(name, builder, arguments.device, precision)}")
        return
    from rich.progress import track

    lines = [
        "| network | precision | maskbridge, images per second | torchvision's script | ratio |",
        "|---|---|---|---|---|",
    ]
    for builder in BUILDERS:
        for precision in arguments.precisions:
            speeds: dict[str, list[float]] = {"maskbridge": [], "torchvision": []}
            for index in track(range(2 * arguments.rounds), description=f"{builder} {precision}", transient=True):
                name = list(speeds)[index % 2]
                command = [sys.executable, __file__, "--device", arguments.device, "--measure", name, builder, precision]
                speeds[name].append(float(result_of(command)))
            ratios = [a / b for a, b in zip(*speeds.values())]
            cells = [spread(values, 3) for values in speeds.values()] + [spread(ratios, 2)]
            lines.append(f"| {builder} | {precision} | {' | '.join(cells)} |")
    text = f"{machine()}, {time.strftime('%Y-%m-%d')}, {arguments.rounds} rounds: median (lowest to highest).\n\n"
    text += "\n".join(lines)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
