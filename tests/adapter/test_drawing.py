"""Annotated pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskbridge.adapter import Instances, MaskRCNN
from maskbridge.adapter.drawing import draw
from maskbridge.adapter.masks import MaskCrop


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (150, 200), (2160, 3840)])
def test_every_size(size: tuple[int, int], bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    image = Image.fromarray(astronaut).resize(size[::-1])
    instances = bundled.predict(image, confidence_threshold=0.01)[0]
    assert draw(image, instances).size == image.size


def test_masks_boxes_and_names_are_drawn_where_they_are() -> None:
    image = np.full((200, 300, 3), 255, dtype=np.uint8)
    crop = MaskCrop(50, 60, np.ones((80, 90), dtype=bool))
    cat = Instances((200, 300), [[50, 60, 140, 140]], [1], ("__background__", "cat"), (crop,), scores=np.array([0.5]))
    picture = np.asarray(draw(image, cat))
    changed = (picture != 255).any(axis=2)
    assert changed[60:140, 50:140].mean() > 0.99
    assert not changed[150:].any()
    assert not changed[:, 160:].any()
    assert changed[45:60, 50:90].any(), "the name stands above the box"
    assert (image == 255).all(), "the image given is not changed"


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="of "):
        draw(np.zeros((4, 4, 3), dtype=np.uint8), Instances((5, 4), np.zeros((0, 4)), np.zeros(0), ("a",), ()))
