"""Labels that are boxes only get masks when that is asked for, in Python and on the command line."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import maskbridge
from maskbridge.adapter import Instances, MaskCrop, MaskRCNN
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, labeled_images, usable
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.training.box_masks import with_masks
from shapes import SMALL

NAMES = (BACKGROUND, "person", "pilot")
BOXES = [[30, 10, 440, 512], [60, 40, 300, 300], [10, 10, 90, 90], [0, 0, 512, 512], [600, 0, 700, 90], [5, 5, 5, 9]]
DRAWN = MaskCrop(10, 10, np.ones((80, 80), dtype=bool))


@pytest.fixture
def boxes(astronaut: np.ndarray) -> LabeledDataset:
    instances = Instances(
        size=(512, 512),
        boxes=BOXES,
        labels=[1, 2, 1, 1, 1, 1],
        class_names=NAMES,
        masks=(None, None, DRAWN, None, None, None),
        ids=("a", "b", "c", "d", "e", "f"),
        attributes=tuple({"iscrowd": int(index == 3)} for index in range(6)),
    )
    return labeled_images([(astronaut, instances), (astronaut, replace(instances[2:3]))])


def test_boxes_get_masks_and_all_else_stays(boxes: LabeledDataset, bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    done: list[int] = []
    made = run_to_end(with_masks(boxes, bundled), done.append)
    assert done == [1, 2]
    filled, before = made[0].instances, boxes[0].instances
    expected = bundled.segment_boxes(astronaut, BOXES[:2], ["person", None])
    for index in (0, 1):
        np.testing.assert_array_equal(filled.frame(index), expected.frame(index))
        assert filled.frame(index).any()
    np.testing.assert_array_equal(filled.frame(2), DRAWN.frame((512, 512)))
    assert [mask is None for mask in filled.masks] == [False, False, False, True, True, True]
    assert (filled.ids, filled.names) == (before.ids, before.names)
    np.testing.assert_array_equal(filled.boxes, before.boxes)
    assert made[1] is boxes[1], "nothing to do: the image is not even read"
    assert usable(made, NAMES).objects == 4
    assert usable(boxes, NAMES).reasons()["a box without a mask"] == 4


def test_an_image_of_another_size_is_named(boxes: LabeledDataset, bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    small = replace(boxes, images=(replace(boxes[0], image=astronaut[:100]),))
    skipped = run_to_end(with_masks(small, bundled)).skipped_images
    assert [image.labels for image in skipped] == [6]
    assert "is 512 x 100 pixels, its labels are for 512 x 512" in skipped[0].reason


def test_on_the_command_line(astronaut: np.ndarray, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(astronaut).save(tmp_path / f"{name}.png")
    images = [{"id": n, "file_name": f"{name}.png", "height": 512, "width": 512} for n, name in enumerate("ab")]
    labels = [{"id": n, "image_id": n, "category_id": 5, "bbox": [30, 10, 410, 502]} for n in range(2)]
    listing = {"images": images, "annotations": labels, "categories": [{"id": 5, "name": "person"}]}
    (tmp_path / "labels.json").write_text(json.dumps(listing))
    weights = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL)).save(tmp_path / "small.safetensors")

    def train(*options: object) -> subprocess.CompletedProcess[str]:
        command = ("train", "--device", "cpu", tmp_path / "labels.json", "--epochs", 1)
        return maskbridge(*command, "--validation-fraction", 0, "-o", tmp_path / "out", *options)

    refused = train("--weights", weights)
    assert (refused.returncode, "2 x a box without a mask" in refused.stderr) == (1, True)
    scratch = train("--weights", "none", "--segment-boxes")
    assert (scratch.returncode, "--segment-boxes needs weights that predict masks" in scratch.stderr) == (1, True)
    done = train("--weights", weights, "--segment-boxes")
    assert done.returncode == 0, done.stderr
    assert "2 images with 2 objects" in done.stdout
    assert "skipped" not in done.stdout
    assert "Traceback" not in refused.stderr + scratch.stderr
