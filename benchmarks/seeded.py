"""Networks with random weights that detect as many objects as needed: for tests and benchmarks without a download."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.settings import EngineName

LARGE = ((700,), (800,), (1000,), (1200,), (1400,))
"""Anchor sizes with which the ResNet builders detect boxes of a few hundredths of the image, as objects often are."""


def seeded(
    builder: str,
    *,
    seed: int = 0,
    spread: float = 0.02,
    anchors: tuple[tuple[int], ...] | None = None,
    frozen: bool = False,
    engine: EngineName = "torch",
    **arguments: object,
) -> MaskRCNN:
    """A `MaskRCNN` with seeded random weights.

    The predictors' weights are drawn again with ``spread`` as standard deviation: 0.0005 gives no detections; with 0.02
    an image gives 100 detections with masks of mixed shapes. ``anchors`` are the anchor sizes, by default torchvision's.
    With ``frozen`` the backbone has frozen batch norms, as networks with pretrained weights have; other engines need it.
    """
    torch.manual_seed(seed)
    model = MaskRCNN(None, builder=builder, progress=False, **arguments)  # type: ignore[arg-type]
    if builder == "maskrcnn_mobilenet_v2_fpn":  # with random weights its features are close to 0
        trained = MaskRCNN("bundled").network.state_dict()
        without_predictors = {name: value for name, value in trained.items() if "_predictor" not in name}
        model.network.load_state_dict(without_predictors, strict=False)
    values = torch.Generator().manual_seed(seed)
    heads = model.network.roi_heads
    with torch.no_grad():
        for layer, deviation in (
            (heads.box_predictor.cls_score, spread),
            (heads.box_predictor.bbox_pred, spread / 10),
            (heads.mask_predictor.mask_fcn_logits, 1.0),
        ):
            layer.weight.copy_(torch.empty(layer.weight.shape).normal_(0, deviation, generator=values))
    if frozen:
        with tempfile.TemporaryDirectory() as folder:
            model = MaskRCNN(
                model.save(Path(folder) / "seeded.safetensors"), device=model.device, engine=engine, progress=False
            )
    return model if anchors is None else with_anchors(model, anchors)


def with_anchors(model: MaskRCNN, anchors: tuple[tuple[int], ...]) -> MaskRCNN:
    """The model with anchors of other sizes; it is changed."""
    model.network.rpn.anchor_generator = AnchorGenerator(anchors, ((0.5, 1.0, 2.0),) * len(anchors))
    return model
