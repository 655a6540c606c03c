"""Masks for labels that are boxes only, so that they can be trained on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from maskbridge.adapter.coco import encode_rle
from maskbridge.adapter.datasets.labeled_dataset import (
    LabeledDataset,
    LabeledImage,
    SkippedImage,
    clip_box,
    has_area,
    is_crowd,
)
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.data import read_labeled


def with_masks(images: LabeledDataset, model: MaskRCNN) -> Generator[int, None, LabeledDataset]:
    """Adds masks to labels that have a box only, as a model predicts them for the boxes (`MaskRCNN.segment_boxes`).

    An iterator over the number of images done, which ends in the labeled images. Boxes, classes and labels that have a
    mask are unchanged; so are crowds, boxes without an area in their image, and boxes for which the model predicts an
    empty mask. For a class that the model does not have, its box head chooses the class whose mask is taken. An image that
    cannot be read, or is not of the size that its labels are for, is skipped.

    Example:
        >>> from maskbridge.adapter import Instances
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> from maskbridge.adapter.long_jobs import run_to_end
        >>> box = Instances((60, 80), [[10, 10, 50, 50]], [1], ("__background__", "person"), [None])
        >>> import numpy as np
        >>> boxes = labeled_images([(np.zeros((60, 80, 3), dtype=np.uint8), box)])
        >>> run_to_end(with_masks(boxes, MaskRCNN("bundled"))).objects
        1
    """
    results, skipped = [], list(images.skipped_images)
    for done, image in enumerate(images, start=1):
        indices = [index for index, annotation in enumerate(image.annotations) if _needs_mask(annotation, image)]
        try:
            results.append(_segmented(image, indices, model) if indices else image)
        except ImageError as error:
            skipped.append(SkippedImage(image.name, error.reason, len(image)))
        yield done
    return replace(images, images=tuple(results), skipped_images=tuple(skipped))


def _needs_mask(annotation: Mapping[str, Any], image: LabeledImage) -> bool:
    return (
        "segmentation" not in annotation and not is_crowd(annotation) and has_area(clip_box(annotation["bbox"], image.size))
    )


def _segmented(image: LabeledImage, indices: list[int], model: MaskRCNN) -> LabeledImage:
    annotations = list(image.annotations)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (clip_box(annotations[index]["bbox"], image.size) for index in indices)]
    names = [image.class_names[annotations[index]["category_id"]] for index in indices]
    model_names = [name if name in model.class_names[1:] else None for name in names]
    segmented = model.segment_boxes(read_labeled(image), boxes, model_names)
    for index, mask in zip(indices, segmented.masks):
        if mask is not None and mask.pixels.any():
            annotations[index] = {**annotations[index], "segmentation": encode_rle(mask, image.size)}
    return replace(image, annotations=tuple(annotations))
