"""Images of shapes with exact masks, and a network that learns them in seconds."""

from __future__ import annotations

import numpy as np
import torch

from maskbridge.adapter import Instances, MaskCrop
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage
from maskbridge.adapter.instances import BACKGROUND

CLASSES = (BACKGROUND, "disc", "bar")
SMALL = {
    "min_size": 96,
    "max_size": 128,
    "rpn_post_nms_top_n_train": 60,
    "box_batch_size_per_image": 32,
}


def shapes(count: int, *, seed: int = 0, size: tuple[int, int] = (96, 128)) -> list[tuple[np.ndarray, Instances]]:
    """Images of bright discs and bars on noise, with their exact masks."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        height, width = size if index % 3 else size[::-1]
        image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        rows, columns = np.mgrid[:height, :width]
        masks, labels = [], []
        for label in (1, 2):
            x, y = rng.integers(24, width - 24), rng.integers(24, height - 24)
            disc = (rows - y) ** 2 + (columns - x) ** 2 < 18**2
            bar = (abs(rows - y) < 8) & (abs(columns - x) < 22)
            mask = disc if label == 1 else bar & ~masks[0]
            image[mask] = (230, 60, 60) if label == 1 else (60, 90, 240)
            masks.append(mask)
            labels.append(label)
        made.append((image, of_masks(masks, labels)))
    return made


def of_masks(masks: list[np.ndarray], labels: list[int], names: tuple[str, ...] = CLASSES) -> Instances:
    target = {
        "boxes": torch.tensor([MaskCrop(0, 0, mask).box for mask in masks], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels),
        "masks": torch.from_numpy(np.stack(masks).astype(np.uint8)),
    }
    return Instances.from_torchvision(target, names)


def images_of(pairs: list[tuple[np.ndarray, Instances]]) -> LabeledDataset:
    kept = tuple(LabeledImage.of(image, instances, f"image {index}") for index, (image, instances) in enumerate(pairs))
    return LabeledDataset(kept, CLASSES)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks as frames."""
    return float((one & other).sum() / (one | other).sum())
