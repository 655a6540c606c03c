"""What training says of labels, classes, images and settings that it cannot use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskbridge.adapter import Instances, MaskCrop, MaskRCNN, SettingsError
from maskbridge.adapter.datasets.labeled_dataset import DataError, labeled_images
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.training.classes import with_classes
from maskbridge.adapter.training.data import TrainingImages
from maskbridge.adapter.training.run import train
from maskbridge.adapter.training.settings import TrainingSettings
from shapes import CLASSES, SMALL, images_of, shapes


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    """A trained trunk with new heads, for small images: steps of a tenth of a second."""
    start = MaskRCNN("bundled")
    return with_classes(MaskRCNN(replace(start.weights, arguments=SMALL)), CLASSES)


def instances(**changes: object) -> Instances:
    mask = MaskCrop(2, 2, np.ones((4, 5), dtype=bool))
    values = {"size": (20, 30), "boxes": [[2, 2, 7, 6]], "labels": [1], "class_names": CLASSES, "masks": (mask,)}
    return Instances(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class_names": (BACKGROUND, "cat")}, "class 'cat' is not in the class list"),
        ({"masks": (None,)}, "a box without a mask"),
        ({"masks": (MaskCrop(2, 2, np.zeros((3, 3), dtype=bool)),)}, "its mask has no pixel in the image"),
        ({"masks": (MaskCrop(40, 2, np.ones((3, 3), dtype=bool)),)}, "its mask has no pixel in the image"),
        ({"masks": (MaskCrop(2, 2, np.ones((1, 1), dtype=bool)),)}, "its mask is a single pixel"),
        ({"boxes": [[40, 2, 50, 9]]}, "its box is not in the image or has no area"),
        ({"boxes": [[5, 5, 5, 9]]}, "its box is not in the image or has no area"),
        ({"boxes": [[float("nan"), 2, 7, 6]]}, "its box is not in the image or has no area"),
        ({"attributes": ({"iscrowd": 1},)}, "a crowd, not an object"),
    ],
)
def test_labels_that_cannot_be_used_are_named(
    changes: dict[str, object], reason: str, model: MaskRCNN, tmp_path: Path
) -> None:
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    bad = replace(labeled_images([(image, instances(**changes))]), class_names=CLASSES)
    with pytest.raises(DataError, match="no label can be used in 1 images: 1 x ") as raised:
        train(model, bad, tmp_path, class_names=CLASSES, progress=False)
    assert reason in str(raised.value)
    mixed = labeled_images([(image, instances(**changes)), (image, instances())])
    report = train(model, mixed, tmp_path, TrainingSettings(epochs=1), class_names=CLASSES, progress=False)
    assert report.skipped_labels == {reason: 1}


def test_class_lists_that_make_no_sense(model: MaskRCNN, tmp_path: Path) -> None:
    images = images_of(shapes(1))
    for names, message in (([], "empty"), (["a", "a"], "2 times"), ("disc", "not one string"), ([" "], "not empty")):
        with pytest.raises(DataError, match=message):
            train(model, images, tmp_path, class_names=names, progress=False)
    with pytest.raises(DataError, match="no label can be used"):
        train(model, images, tmp_path, class_names=["zebra"], progress=False)


def test_an_image_of_another_size_is_named(model: MaskRCNN, tmp_path: Path) -> None:
    pairs = [(np.zeros((10, 10, 3), dtype=np.uint8), instances())]
    with pytest.raises(DataError, match="1 x it is 10 x 10 pixels, its labels are for 30 x 20"):
        train(model, images_of(pairs), tmp_path, progress=False)
    good = (np.zeros((20, 30, 3), dtype=np.uint8), instances())
    report = train(model, images_of([*pairs, good]), tmp_path, TrainingSettings(epochs=1), progress=False)
    assert [(image.name, image.labels) for image in report.skipped_images] == [("image 0", 1)]
    with pytest.raises(DataError, match="1 images cannot be used: image 0: it is 10 x 10"):
        train(model, images_of([*pairs, good]), tmp_path, TrainingSettings(epochs=1), strict=True, progress=False)


def test_what_a_cpu_cannot_do(model: MaskRCNN, tmp_path: Path) -> None:
    on_cpu = MaskRCNN(model.weights, device="cpu")
    with pytest.raises(SettingsError, match="precision on cpu is float32 or bfloat16"):
        train(on_cpu, images_of(shapes(1)), tmp_path, TrainingSettings(precision="float16"), progress=False)


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"batch_size": 1.5}, {"learning_rate": 0}, {"precision": "8"}, {"scale_jitter": (2, 1)}]
)
def test_settings_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        TrainingSettings(**options)  # type: ignore[arg-type]


def test_large_images_are_shrunk_with_their_objects() -> None:
    pixels = np.zeros((400, 800, 3), dtype=np.uint8)
    pixels[100:300, 200:400] = 255
    mask = MaskCrop(200, 100, np.ones((200, 200), dtype=bool))
    labeled = labeled_images([(pixels, Instances((400, 800), [[200, 100, 400, 300]], [1], (BACKGROUND, "white"), [mask]))])
    settings = TrainingSettings(flip=0.0, scale_jitter=None)
    for sides, height in (((400, 800), 400), ((50, 90), 90)):
        image, target, _ = TrainingImages(labeled, settings, sides)[(0, 0)]
        assert tuple(image.shape) == (3, height, 2 * height)
        scale = height / 400
        np.testing.assert_allclose(target["boxes"], [[200 * scale, 100 * scale, 400 * scale, 300 * scale]])
        assert ((image[0] > 0.5) == target["masks"][0].bool()).float().mean() > 0.98
        assert target["masks"].shape == (1, height, 2 * height)
