"""Datasets of real images on a real mongod."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from plugin_operators import FAST, operator


@pytest.fixture
def filled(dataset: fo.Dataset, images: list[Path]) -> fo.Dataset:
    dataset.add_samples([fo.Sample(str(path)) for path in images[:5]], progress=False)
    return dataset


@pytest.fixture
def people(dataset: fo.Dataset, astronaut: np.ndarray, tmp_path: Path) -> fo.Dataset:
    """Twelve images of a person."""
    for index in range(12):
        Image.fromarray(np.roll(astronaut, 7 * index, axis=1)).save(tmp_path / f"{index:02}.png")
    dataset.add_samples([fo.Sample(str(path)) for path in sorted(tmp_path.glob("*.png"))], progress=False)
    return dataset


@pytest.fixture
def boxes(people: fo.Dataset) -> fo.Dataset:
    operator("segment_instances")(people, "predicted", **FAST)
    for sample in people:
        for detection in sample.predicted.detections:
            detection.mask, detection.confidence = None, None
            detection["checked_by"] = "ann"
            detection.tags = ["checked"]
        sample.save()
    return people
