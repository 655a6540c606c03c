"""The adapter finds what torchvision's own forward finds, with the same network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from maskbridge.adapter import Instances, MaskRCNN
from maskbridge.adapter import network as net
from maskbridge.adapter.builders import build
from maskbridge.adapter.images import as_float, read
from seeded import LARGE, seeded

RESNETS = {"maskrcnn_resnet50_fpn": maskrcnn_resnet50_fpn, "maskrcnn_resnet50_fpn_v2": maskrcnn_resnet50_fpn_v2}


def torchvision_result(model: MaskRCNN, image: object) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return model.network([as_float(read(image))])[0]  # type: ignore[arg-type]


def assert_equal(actual: Instances, expected: dict[str, torch.Tensor], threshold: float = 0.5) -> None:
    np.testing.assert_array_equal(actual.labels, expected["labels"].numpy())
    np.testing.assert_array_equal(actual.boxes, expected["boxes"].numpy())
    np.testing.assert_array_equal(actual.scores, expected["scores"].numpy())  # type: ignore[arg-type]
    for frame, mask in zip(actual.frames(), expected["masks"]):
        np.testing.assert_array_equal(frame, mask[0].numpy() >= threshold)


def set_spread(model: MaskRCNN, spread: float) -> None:
    values = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer, deviation in zip(_predictors(model), (spread, spread / 10)):
            layer.weight.copy_(torch.empty(layer.weight.shape).normal_(0, deviation, generator=values))


def _predictors(model: MaskRCNN) -> Sequence[nn.Linear]:
    predictor = model.network.roi_heads.box_predictor
    return predictor.cls_score, predictor.bbox_pred


@pytest.mark.parametrize("builder", RESNETS)
def test_resnets_with_seeded_values_equal_torchvision_from_no_to_100_objects(builder: str, images: list[Path]) -> None:
    model = seeded(builder, anchors=LARGE, min_size=480)
    counts = []
    for image, spread in zip(images, (0.0003, 0.0018, 0.0024, 0.01, 0.03)):
        set_spread(model, spread)
        actual = model.predict(image)[0]
        assert_equal(actual, torchvision_result(model, image))
        counts.append(len(actual))
    assert counts[0] == 0
    assert counts[-1] == 100


@pytest.mark.parametrize("builder", RESNETS)
def test_a_seed_gives_the_values_of_torchvisions_own_builder(builder: str) -> None:
    torch.manual_seed(3)
    theirs = RESNETS[builder](weights=None, weights_backbone=None, num_classes=5, box_nms_thresh=0.4).eval()
    torch.manual_seed(3)
    ours = MaskRCNN(None, builder=builder, num_classes=5, box_nms_thresh=0.4)
    state = ours.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())
    assert str(theirs) == str(ours.network)
    assert ours.network.roi_heads.nms_thresh == 0.4


def test_bundled_weights_equal_torchvision_on_images(bundled: MaskRCNN, images: list[Path], astronaut: np.ndarray) -> None:
    actual = [bundled.predict(image)[0] for image in [*images, astronaut]]
    for image, instances in zip([*images, astronaut], actual):
        assert_equal(instances, torchvision_result(bundled, image))
    assert sum(map(len, actual)) > 0


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (33, 900), (1200, 40), (479, 641), (3000, 2000)])
def test_sizes_that_torchvision_takes(size: tuple[int, int]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.3)
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    actual = model.predict(image)[0]
    assert len(actual) > 0
    assert_equal(actual, torchvision_result(model, image))


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (3, 4000), (1, 70_000)])
def test_sizes_at_which_torchvision_fails_work_and_spoil_nothing(size: tuple[int, int]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.3)
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError):
        torchvision_result(model, image)
    actual = model.predict(image)[0]
    assert actual.size == size
    assert np.isfinite(actual.boxes).all()
    normal = torch.rand(3, 300, 400, generator=torch.Generator().manual_seed(1))
    assert_equal(model.predict(normal)[0], torchvision_result(model, normal))


def test_boxes_at_the_edges_and_masks_over_all_the_image() -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", anchors=((1000,),) * 5, spread=0.3)
    image = torch.rand(3, 200, 300, generator=torch.Generator().manual_seed(0))
    actual = model.predict(image, mask_threshold=0.01)[0]
    assert (actual.boxes[:, :2] == 0).any()
    assert (actual.boxes[:, 2:] == [300, 200]).any()
    assert_equal(actual, torchvision_result(model, image), threshold=0.01)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_every_mask_threshold(threshold: float, bundled: MaskRCNN, astronaut: np.ndarray) -> None:
    actual = bundled.predict(astronaut, mask_threshold=threshold)[0]
    expected = torchvision_result(bundled, astronaut)["masks"][:, 0].numpy()
    for crop, mask in zip(actual.masks, expected):
        assert crop is not None
        height, width = crop.pixels.shape
        inside = mask[crop.y : crop.y + height, crop.x : crop.x + width]
        np.testing.assert_array_equal(crop.pixels, inside >= threshold)
        assert threshold == 0 or (mask >= threshold).sum() == crop.area


def test_a_confidence_threshold_equals_torchvisions_score_threshold(images: list[Path]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.3)
    actual = model.predict(images[0], confidence_threshold=0.4)[0]
    model.network.roi_heads.score_thresh = 0.4
    assert len(actual) > 0
    assert_equal(actual, torchvision_result(model, images[0]))


def test_a_class_filter_equals_torchvision_with_the_other_scores_at_zero(images: list[Path]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=1.0, num_classes=6)
    chosen = ["class_2", "class_5"]
    actual = model.predict(images[0], classes=chosen)[0]
    softmax = torch.nn.functional.softmax

    def only_chosen(logits: torch.Tensor, dim: int) -> torch.Tensor:
        scores = softmax(logits, dim)
        keep = torch.tensor([name in chosen for name in model.class_names])
        return scores * keep

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.detection.roi_heads.F.softmax", only_chosen)
        expected = torchvision_result(model, images[0])
    assert set(actual.names) == set(chosen)
    assert_equal(actual, expected)


def test_most_detections(images: list[Path]) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.3)
    few, many = (model.predict(images[0], max_detections=most)[0] for most in (7, 300))
    assert len(few) == 7
    assert len(many) > 100
    np.testing.assert_array_equal(few.boxes, many.boxes[:7])
    model.network.roi_heads.detections_per_img = 300
    assert_equal(many, torchvision_result(model, images[0]))


@pytest.mark.engine
def test_batches_find_what_single_images_find(images: list[Path], bundled: MaskRCNN) -> None:
    # Trained values: random ones magnify the rounding of a batch's other kernels, on some processors to other objects.
    single = bundled.predict(images, batch_size=1)
    together = bundled.predict(images, batch_size=len(images))
    assert len({net.padded_size(bundled.network, one.size) for one in single}) < len(images), "no two share a batch"
    assert sum(map(len, single)) > 3
    for one, other in zip(single, together):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)  # type: ignore[arg-type]
        for frame, mask in zip(one.frames(), other.frames()):
            assert (frame != mask).mean() <= 0.001


def test_the_first_image_does_not_change_the_pooling_of_later_ones() -> None:
    first, second = (build("maskrcnn_mobilenet_v2_fpn", num_classes=2, pretrained=True) for _ in range(2))
    with torch.no_grad():
        first([torch.rand(3, 20, 2000)])
        second([torch.rand(3, 300, 400)])
    for name in ("box_roi_pool", "mask_roi_pool"):
        pools = [getattr(network.roi_heads, name) for network in (first, second)]
        assert pools[0].scales == pools[1].scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def test_bfloat16_detects_nearly_the_same_and_leaves_no_trace(astronaut: np.ndarray, bundled: MaskRCNN) -> None:
    before = bundled.predict(astronaut, confidence_threshold=0.5)[0]
    rough = MaskRCNN("bundled", precision="bfloat16")
    actual = rough.predict(astronaut, confidence_threshold=0.5)[0]
    assert actual.labels.tolist() == before.labels.tolist()
    np.testing.assert_allclose(actual.scores, before.scores, atol=0.05)  # type: ignore[arg-type]
    assert all(cell.dtype == torch.float32 for cell in rough.network.rpn.anchor_generator.cell_anchors)
    with torch.no_grad():
        rough.network([as_float(read(astronaut))])
