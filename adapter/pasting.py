"""Pastes mask probabilities into crops, as torchvision does into full frames."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

from maskbridge.adapter.masks import MaskCrop

PADDING = 1
"""Padding around a 28 x 28 mask before pasting, in pixels: the default of torchvision's ``paste_masks_in_image``."""


@torch.inference_mode()
def paste(probabilities: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], threshold: float) -> list[MaskCrop]:
    """Pastes mask probabilities into box-sized crops and thresholds them.

    As in torchvision's ``paste_masks_in_image``, the mask is padded by one pixel, the box is expanded by the same ratio and
    truncated to integers, and the mask is resized to it bilinearly, then compared with ``>=``. Every pixel equals that of
    torchvision's full frame at the same threshold, bit for bit: outside the crop, that is below any threshold above 0.

    Args:
        probabilities: float [N, M, M] in 0..1, on any device.
        boxes: float [N, 4], xyxy, in pixels of the image.
        size: (H, W) of the image.
        threshold: pixels with a probability of at least this are in the mask, 0 to 1.

    Returns:
        N crops: the pasted windows, clipped to the image.

    Example:
        >>> (crop,) = paste(torch.ones(1, 28, 28), torch.tensor([[10.0, 20.0, 30.0, 60.0]]), (100, 100), 0.5)
        >>> crop.x, crop.y, crop.pixels.shape
        (9, 18, (44, 22))
    """
    if not len(boxes):
        return []
    padded, scale = expand_masks(probabilities.float()[:, None], padding=PADDING)
    windows = expand_boxes(boxes.float(), scale).to(torch.int64).tolist()
    pasted = [_paste_one(mask, window, size, threshold) for mask, window in zip(padded, windows)]
    if probabilities.device.type == "cpu":
        return [MaskCrop(x, y, pixels.numpy()) for x, y, pixels in pasted]
    return _to_cpu(pasted)


def _to_cpu(pasted: list[tuple[int, int, torch.Tensor]]) -> list[MaskCrop]:
    """Copies all crops from the GPU together."""
    flat = torch.cat([pixels.flatten() for _, _, pixels in pasted]).cpu().numpy()
    parts = np.split(flat, np.cumsum([pixels.numel() for _, _, pixels in pasted])[:-1])
    return [MaskCrop(x, y, part.reshape(pixels.shape)) for (x, y, pixels), part in zip(pasted, parts)]


def _paste_one(
    mask: torch.Tensor, window: list[int], size: tuple[int, int], threshold: float
) -> tuple[int, int, torch.Tensor]:
    x1, y1, x2, y2 = window
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    left, right = max(x1, 0), min(x2 + 1, size[1])
    top, bottom = max(y1, 0), min(y2 + 1, size[0])
    if left >= right or top >= bottom:
        return min(left, size[1]), min(top, size[0]), torch.zeros((0, 0), dtype=torch.bool, device=mask.device)
    resized = F.interpolate(mask[None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    return left, top, resized[top - y1 : bottom - y1, left - x1 : right - x1] >= threshold
