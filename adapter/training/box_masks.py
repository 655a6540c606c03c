"""Masks for labels that are boxes only, so that they can be trained on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from maskbridge.adapter.coco import encode_rle
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, clip_box, has_area, is_crowd
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.data import read_labeled


def with_masks(images: LabeledDataset, model: MaskRCNN) -> Generator[int, None, LabeledDataset]:
    """Gives labels without a mask the one that a model makes for their box (`MaskRCNN.segment_boxes`).

    An iterator over the number of images done, which ends in the images. Boxes, classes and labels that have a mask stay as
    they are; so do crowds, boxes without an area in their image, and those in which the model sees no pixel. For a class
    that the model does not know, its box head chooses whose mask is taken.

    Raises:
        ImageError: an image cannot be read, or is not of the size that its labels are for.
    """
    made = []
    for done, image in enumerate(images, start=1):
        indices = [index for index, annotation in enumerate(image.annotations) if _wants_mask(annotation, image)]
        made.append(_segmented(image, indices, model) if indices else image)
        yield done
    return replace(images, images=tuple(made))


def _wants_mask(annotation: Mapping[str, Any], image: LabeledImage) -> bool:
    return (
        "segmentation" not in annotation and not is_crowd(annotation) and has_area(clip_box(annotation["bbox"], image.size))
    )


def _segmented(image: LabeledImage, indices: list[int], model: MaskRCNN) -> LabeledImage:
    annotations = list(image.annotations)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (clip_box(annotations[index]["bbox"], image.size) for index in indices)]
    names = [image.class_names[annotations[index]["category_id"]] for index in indices]
    known = [name if name in model.class_names[1:] else None for name in names]
    segmented = model.segment_boxes(read_labeled(image), boxes, known)
    for index, mask in zip(indices, segmented.masks):
        if mask is not None and mask.pixels.any():
            annotations[index] = {**annotations[index], "segmentation": encode_rle(mask, image.size)}
    return replace(image, annotations=tuple(annotations))
