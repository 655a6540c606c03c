"""Draws instances on their image, with torchvision's drawing utilities."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from maskbridge.adapter.images import ImageInput, read
from maskbridge.adapter.instances import Instances

Color = tuple[int, int, int]


def draw(image: ImageInput, instances: Instances, *, alpha: float = 0.5) -> Image.Image:
    """Draws each object's mask, box, class name and score on a copy of the image.

    Line width and font size scale with the image, so small and large images are both readable. Masks are drawn as crops,
    never as full frames.

    Args:
        image: an image as for `maskbridge.adapter.images.read`, of the size of ``instances``.
        instances: the objects; the one with the highest score is drawn last, on top.
        alpha: opacity of the masks, 0 to 1.

    Returns:
        An RGB image.

    Raises:
        ValueError: image and instances have different sizes.

    Example:
        >>> image = np.zeros((20, 30, 3), dtype=np.uint8)
        >>> cat = Instances((20, 30), [[2, 2, 9, 9]], [1], ("__background__", "cat"), [None])
        >>> draw(image, cat).size
        (30, 20)
    """
    canvas = read(image)
    if canvas.dtype != torch.uint8:
        canvas = (canvas * 255).round().to(torch.uint8)
    canvas = canvas.cpu().clone()
    if tuple(canvas.shape[-2:]) != instances.size:
        raise ValueError(f"the image is {list(canvas.shape[-2:])}, the instances are of {list(instances.size)} (H, W)")
    order = np.arange(len(instances)) if instances.scores is None else np.argsort(instances.scores, kind="stable")
    colors = {label: _color(label) for label in set(instances.labels.tolist())}
    for index in order:
        if (crop := instances.masks[index]) is not None and crop.pixels.size:
            window = canvas[:, crop.y : crop.y + crop.pixels.shape[0], crop.x : crop.x + crop.pixels.shape[1]]
            mask = torch.from_numpy(np.ascontiguousarray(crop.pixels))
            window.copy_(draw_segmentation_masks(window, mask, alpha, [colors[int(instances.labels[index])]]))
    boxes = torch.from_numpy(instances.boxes[order])
    drawable = (boxes[:, 2:] >= boxes[:, :2]).all(dim=1)
    if drawable.any():
        box_colors: list[str | Color] = [
            colors[int(instances.labels[index])] for index, keep in zip(order, drawable) if keep
        ]
        line_width = max(1, round(min(instances.size) / 300))
        canvas = draw_bounding_boxes(canvas, boxes[drawable], colors=box_colors, width=line_width)
    drawing = Image.fromarray(canvas.permute(1, 2, 0).contiguous().numpy())
    _draw_captions(drawing, instances, order, colors)
    return drawing


def _draw_captions(drawing: Image.Image, instances: Instances, order: np.ndarray, colors: dict[int, Color]) -> None:
    painter = ImageDraw.Draw(drawing)
    font = ImageFont.load_default(size=max(10, round(min(drawing.size) / 36)))
    for index in order:
        text = instances.names[index]
        if instances.scores is not None:
            text += f" {instances.scores[index]:.2f}"
        x1, y1, _, _ = instances.boxes[index].tolist()
        _, _, width, height = painter.textbbox((0, 0), text, font=font)
        # Above the box if there is room, else inside its top edge; never outside the image.
        x = min(max(x1, 0), max(drawing.width - width - 2, 0))
        y = y1 - height - 2 if y1 - height - 2 >= 0 else max(y1, 0)
        y = min(y, max(drawing.height - height - 2, 0))
        color = colors[int(instances.labels[index])]
        painter.rectangle((x, y, x + width + 2, y + height + 2), fill=color)
        painter.text((x + 1, y + 1), text, fill="black" if sum(color) > 330 else "white", font=font)


def _color(label: int) -> Color:
    """A saturated color for a label; consecutive labels get hues that are far apart."""
    red, green, blue = colorsys.hsv_to_rgb((label * 0.618034) % 1, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
