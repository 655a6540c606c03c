"""No objects, several instances as one, and torchvision's results without masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskbridge.adapter import Instances, MaskCrop

NAMES = ("__background__", "cat", "dog")


def one(name: str, names: tuple[str, ...] = NAMES, **values: object) -> Instances:
    mask = MaskCrop(1, 1, np.ones((2, 3), dtype=bool))
    return Instances((9, 8), [[1, 1, 4, 3]], [names.index(name)], names, [mask], **values)  # type: ignore[arg-type]


def test_class_names_are_united_and_labels_renumbered() -> None:
    parts = [one("dog"), one("bird", ("__background__", "bird", "dog")), one("dog", ("__background__", "bird", "dog"))]
    merged = Instances.merge(parts)
    assert merged.class_names == ("__background__", "cat", "dog", "bird")
    assert merged.names == ["dog", "bird", "dog"]
    assert merged.boxes.tolist() == [[1, 1, 4, 3]] * 3
    assert [crop.area for crop in merged.masks if crop is not None] == [6, 6, 6]


def test_scores_and_ids_are_of_all_or_none() -> None:
    scored = one("cat", scores=[0.5], ids=("a",), attributes=({"note": 1},))
    both = Instances.merge([scored, one("dog", scores=[0.25], ids=("b",))])
    assert both.scores is not None
    assert (both.scores.tolist(), both.ids, both.attributes) == ([0.5, 0.25], ("a", "b"), ({"note": 1}, {}))
    mixed = Instances.merge([scored, one("dog")])
    assert (mixed.scores, mixed.ids) == (None, None)
    with_empty = Instances.merge([Instances.empty((9, 8), NAMES), scored])
    assert with_empty.scores is not None
    assert with_empty.scores.dtype == np.float32
    assert (len(with_empty), with_empty.class_names) == (1, NAMES)


def test_what_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match=r"of one image size, not \[\(8, 9\), \(9, 8\)\]"):
        Instances.merge([one("cat"), Instances.empty((8, 9), NAMES)])
    with pytest.raises(ValueError, match="of one image size"):
        Instances.merge([])


def test_empty_goes_to_every_form() -> None:
    empty = Instances.empty((9, 8), NAMES)
    assert (len(empty), empty.to_coco(), empty.names, empty.to_polygons()) == (0, [], [], [])
    assert empty.to_target()["masks"].shape == (0, 9, 8)
    assert Instances.merge([empty, empty]).boxes.shape == (0, 4)


def test_torchvisions_results_without_masks() -> None:
    result = {"boxes": torch.tensor([[1.0, 1, 4, 3]]), "labels": torch.tensor([2]), "scores": torch.tensor([0.5])}
    boxes = Instances.from_torchvision(result, NAMES, size=(9, 8))
    assert (boxes.size, boxes.names, boxes.masks) == ((9, 8), ["dog"], (None,))
    with pytest.raises(ValueError, match=r"pass size=\(H, W\)"):
        Instances.from_torchvision(result, NAMES)
