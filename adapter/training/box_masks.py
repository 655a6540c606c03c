"""Masks for labels that are boxes only, so that they can be trained on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from maskbridge.adapter.coco import encode_rle
from maskbridge.adapter.labelled import LabelledPhoto, LabelledPhotos, cut, has_area, is_crowd
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.data import read_labelled


def with_masks(photos: LabelledPhotos, model: MaskRCNN) -> Generator[int, None, LabelledPhotos]:
    """Gives labels without a mask the one that a model makes for their box (`MaskRCNN.segment_boxes`).

    An iterator over the number of photos done, which ends in the photos. Boxes, classes and labels that have a mask stay as
    they are; so do crowds, boxes without an area in their photo, and those in which the model sees no pixel. For a class
    that the model does not know, its box head chooses whose mask is taken.

    Raises:
        ImageError: a photo cannot be read, or is not of the size that its labels are for.
    """
    made = []
    for done, photo in enumerate(photos, start=1):
        places = [place for place, annotation in enumerate(photo.annotations) if _wants_mask(annotation, photo)]
        made.append(_segmented(photo, places, model) if places else photo)
        yield done
    return replace(photos, photos=tuple(made))


def _wants_mask(annotation: Mapping[str, Any], photo: LabelledPhoto) -> bool:
    return "segmentation" not in annotation and not is_crowd(annotation) and has_area(cut(annotation["bbox"], photo.size))


def _segmented(photo: LabelledPhoto, places: list[int], model: MaskRCNN) -> LabelledPhoto:
    annotations = list(photo.annotations)
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (cut(annotations[place]["bbox"], photo.size) for place in places)]
    names = [photo.class_names[annotations[place]["category_id"]] for place in places]
    known = [name if name in model.class_names[1:] else None for name in names]
    found = model.segment_boxes(read_labelled(photo), boxes, known)
    for place, mask in zip(places, found.masks):
        if mask is not None and mask.pixels.any():
            annotations[place] = {**annotations[place], "segmentation": encode_rle(mask, photo.size)}
    return replace(photo, annotations=tuple(annotations))
