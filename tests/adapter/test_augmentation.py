"""Augmentations of training images: boxes fit their masks, pasted objects cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbridge.adapter import MaskCrop
from maskbridge.adapter.images import read
from maskbridge.adapter.training.augmentation import VISIBLE_FRACTION, augment, paste_objects
from maskbridge.adapter.training.data import TrainingImages
from maskbridge.adapter.training.settings import TrainingSettings
from shapes import images_of, shapes


@pytest.mark.parametrize("seed", range(12))
def test_boxes_fit_their_masks_after_changes(seed: int) -> None:
    (pixels, instances), *_ = shapes(1, seed=seed)
    torch.manual_seed(seed)
    image, target = augment(read(pixels), instances.to_target(), TrainingSettings(scale_jitter=(0.4, 2.5)))
    height, width = image.shape[-2:]
    assert (height, width) == pixels.shape[:2]
    assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
    assert set(target["masks"].unique().tolist()) <= {0, 1}
    for box, mask in zip(target["boxes"], target["masks"]):
        tight = MaskCrop(0, 0, mask.bool().numpy()).box
        np.testing.assert_allclose(box.numpy(), tight, atol=2.5)
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height


def square(top: int, left: int, side: int, label: int) -> dict[str, torch.Tensor]:
    mask = torch.zeros(1, 40, 60, dtype=torch.uint8)
    mask[0, top : top + side, left : left + side] = 1
    box = torch.tensor([[left, top, left + side, top + side]], dtype=torch.float32)
    return {"boxes": box, "labels": torch.tensor([label]), "masks": mask}


def test_a_pasted_object_covers_what_is_behind_it() -> None:
    image, source = torch.zeros(3, 40, 60), torch.ones(3, 40, 60)
    new, target = paste_objects(image, square(0, 0, 20, 1), source, square(0, 10, 20, 2))
    assert target["labels"].tolist() == [1, 2]
    assert target["boxes"].tolist() == [[0, 0, 10, 20], [10, 0, 30, 20]]
    assert [int(mask.sum()) for mask in target["masks"]] == [200, 400]
    assert torch.equal(new[0] == 1, target["masks"][1].bool()), "the object's pixels and no others"
    assert not image.any(), "the image itself is not changed"


@pytest.mark.parametrize(("left", "remains"), [(0, False), (1, False), (2, True), (20, True)])
def test_an_object_that_is_nearly_covered_is_dropped(left: int, remains: bool) -> None:
    image = torch.zeros(3, 40, 60)
    _, target = paste_objects(image, square(0, 0, 20, 1), image, square(0, left, 20, 2))
    assert (1 in target["labels"].tolist()) == remains, f"{left / 20:.0%} visible, the limit is {VISIBLE_FRACTION:.0%}"


def test_untouched_objects_keep_their_boxes() -> None:
    target = square(0, 0, 10, 1)
    target["boxes"] += 0.25  # drawn by a person, not around the mask
    _, new = paste_objects(torch.zeros(3, 40, 60), target, torch.ones(3, 40, 60), square(20, 30, 10, 2))
    assert torch.equal(new["boxes"][:1], target["boxes"])


def test_an_image_without_objects_gets_some_and_gives_none() -> None:
    image, empty = torch.zeros(3, 40, 60), {name: values[:0] for name, values in square(0, 0, 5, 1).items()}
    assert paste_objects(image, empty, image, square(0, 0, 5, 2))[1]["labels"].tolist() == [2]
    new, target = paste_objects(image, square(0, 0, 5, 1), torch.ones(3, 40, 60), empty)
    assert (int(new.sum()), target["labels"].tolist()) == (0, [1])


@pytest.mark.parametrize("jitter", [None, (0.5, 2.0)])
def test_objects_of_images_of_other_sizes_and_depths_are_pasted(jitter: tuple[float, float] | None) -> None:
    pairs = [*shapes(2), *shapes(2, seed=5, size=(70, 150))]
    deep = [((pixels.astype(np.uint16) * 257), instances) for pixels, instances in pairs[:2]]
    images = images_of([*deep, *pairs[2:]])
    settings = TrainingSettings(scale_jitter=jitter, copy_paste=1)
    plain = TrainingImages(images, settings.model_copy(update={"copy_paste": 0.0}), (800, 1333))
    changed = 0
    for epoch in range(6):
        for index, labeled in enumerate(images):
            image, target, _ = TrainingImages(images, settings, (800, 1333))[(epoch, index)]
            before, _, _ = plain[(epoch, index)]
            assert image.shape == before.shape == (3, *labeled.size)
            assert image.dtype == torch.float32
            assert 0 <= image.min() <= image.max() <= 1
            assert target["masks"].shape[1:] == labeled.size
            assert target["masks"].sum(dim=0).max() <= 1, "no pixel has two objects"
            for box, mask in zip(target["boxes"], target["masks"]):
                tight = np.array(MaskCrop(0, 0, mask.bool().numpy()).box)
                outside = (box.numpy() - tight) * (1, 1, -1, -1)
                assert outside.max() <= 2.5, "the box is around its mask"
            different = (image != before).any(dim=0)
            assert not (different & (target["masks"].sum(dim=0) == 0)).any(), "only pasted pixels change"
            changed += bool(different.any())
    assert changed > 12, "most images get objects"
