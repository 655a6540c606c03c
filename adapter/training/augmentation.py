"""Random changes of an image with its targets: mirrored, scaled, objects of another image pasted in."""

from __future__ import annotations

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskbridge.adapter.training.settings import TrainingSettings

Target = dict[str, torch.Tensor]
"""As torchvision has it: ``boxes`` float32 [N, 4] xyxy in pixels, ``labels`` int64 [N], ``masks`` uint8 [N, H, W]."""

VISIBLE_FRACTION = 0.1
"""An object of whose mask less remains under pasted objects is dropped."""


def augment(
    image: torch.Tensor, target: Target, settings: TrainingSettings, *, size: tuple[int, int] | None = None
) -> tuple[torch.Tensor, Target]:
    """An image randomly mirrored and scaled, with its target: torchvision's v2 transforms, torch's random state.

    Scaled up it is cropped, scaled down it is padded with gray. Objects outside of the crop are dropped; a box that is
    cropped fits its mask.

    Args:
        image: uint8 or float [C, H, W].
        target: its objects.
        settings: ``flip`` and ``scale_jitter``.
        size: height and width of the result; by default the image's own.

    Example:
        >>> image, mask = torch.zeros(3, 40, 60), torch.ones(1, 40, 60, dtype=torch.uint8)
        >>> target = {"boxes": torch.tensor([[0.0, 0, 60, 40]]), "labels": torch.tensor([1]), "masks": mask}
        >>> augment(image, target, TrainingSettings(), size=(30, 30))[0].shape
        torch.Size([3, 30, 30])
    """
    own_size = (image.shape[-2], image.shape[-1])
    new_size = own_size if size is None else size
    jitter = settings.scale_jitter or (None if new_size == own_size else (1.0, 1.0))
    gray = 127 if image.dtype == torch.uint8 else 0.5
    steps: list[Any] = [v2.RandomHorizontalFlip(settings.flip)]
    if jitter is not None:
        steps += [
            v2.ScaleJitter(new_size, jitter, antialias=True),
            v2.RandomCrop(new_size, pad_if_needed=True, fill={tv_tensors.Image: gray, tv_tensors.Mask: 0}),
        ]
    typed = {
        "boxes": tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=own_size),
        "masks": tv_tensors.Mask(target["masks"]),
        "labels": target["labels"],
    }
    new_image, new = v2.Compose(steps)(tv_tensors.Image(image), typed)
    boxes, masks, labels = (new[name].as_subclass(torch.Tensor) for name in ("boxes", "masks", "labels"))
    if jitter is not None:
        height, width = new_size
        cropped = (boxes[:, :2] <= 0).any(dim=1) | (boxes[:, 2] >= width) | (boxes[:, 3] >= height)
        boxes = _fit_to_masks(boxes, masks, cropped)
        boxes = boxes.clamp(torch.zeros(4), torch.tensor([width, height, width, height], dtype=boxes.dtype))
    visible = masks.bool().flatten(1).any(dim=1)
    valid = visible & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return new_image.as_subclass(torch.Tensor), _select({"boxes": boxes, "labels": labels, "masks": masks}, valid)


def paste_objects(
    image: torch.Tensor, target: Target, source: torch.Tensor, source_target: Target
) -> tuple[torch.Tensor, Target]:
    """Pastes a random subset of another image's objects into an image, by their masks, with hard edges.

    The simple copy-paste of Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177. Each object of the source is chosen with
    probability 0.5, at least one. Objects of the image lose the pixels that are covered, their boxes then fit what
    remains, and they are dropped where less than `VISIBLE_FRACTION` of their mask does.

    Args:
        image: float [C, H, W]; not changed.
        target: its objects.
        source: the other image, of the same shape and dtype.
        source_target: its objects; without any the result is the image.

    Example:
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
        >>> mask[0, :2] = 1
        >>> target = {"boxes": torch.tensor([[0.0, 0, 4, 2]]), "labels": torch.tensor([1]), "masks": mask}
        >>> other = {**target, "labels": torch.tensor([2])}
        >>> image, new = paste_objects(torch.zeros(3, 4, 4), target, torch.ones(3, 4, 4), other)
        >>> image[0, :, 0].tolist(), new["labels"].tolist()  # the first object is covered
        ([1.0, 1.0, 0.0, 0.0], [2])
    """
    count = len(source_target["labels"])
    if count == 0:
        return image, target
    chosen = torch.rand(count) < 0.5
    if not chosen.any():
        chosen[torch.randint(count, (1,))] = True
    pasted = _select(source_target, chosen)
    covered = pasted["masks"].bool().any(dim=0)
    image = torch.where(covered, source, image)
    masks = target["masks"] * ~covered
    before, after = (values.flatten(1).sum(dim=1) for values in (target["masks"], masks))
    boxes = _fit_to_masks(target["boxes"], masks, after < before)
    remaining = _select({**target, "boxes": boxes, "masks": masks}, after >= (VISIBLE_FRACTION * before).clamp(min=1))
    return image, {name: torch.cat([remaining[name], pasted[name]]) for name in ("boxes", "labels", "masks")}


def _select(target: Target, chosen: torch.Tensor) -> Target:
    return {name: target[name][chosen] for name in ("boxes", "labels", "masks")}


def _fit_to_masks(boxes: torch.Tensor, masks: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """Boxes, those of changed masks replaced by the box around the mask (kept where the mask is empty)."""
    boxes = boxes.clone()
    for index in changed.nonzero()[:, 0].tolist():
        rows, columns = masks[index].any(dim=1).nonzero()[:, 0], masks[index].any(dim=0).nonzero()[:, 0]
        if len(rows):
            boxes[index] = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=boxes.dtype)
    return boxes
