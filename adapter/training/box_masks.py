"""Masks for labels that are boxes only, so that they can be trained on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from maskbridge.adapter.instances import Instances
from maskbridge.adapter.labelled import LabelledPhoto, LabelledPhotos, is_crowd
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
        instances = photo.instances
        places = [place for place in range(len(instances)) if _wants_mask(instances, place)]
        made.append(_segmented(photo, instances, places, model) if places else photo)
        yield done
    return replace(photos, photos=tuple(made))


def _wants_mask(instances: Instances, place: int) -> bool:
    height, width = instances.size
    x1, y1, x2, y2 = instances.boxes[place].clip(0, [width, height, width, height]).tolist()
    crowd = is_crowd(instances.attributes[place] if instances.attributes else None)
    return instances.masks[place] is None and not crowd and x1 < x2 and y1 < y2


def _segmented(photo: LabelledPhoto, instances: Instances, places: list[int], model: MaskRCNN) -> LabelledPhoto:
    known = model.class_names[1:]
    names = [name if name in known else None for name in instances[places].names]
    found = model.segment_boxes(read_labelled(photo), instances.boxes[places], names)
    masks = list(instances.masks)
    for place, mask in zip(places, found.masks):
        masks[place] = mask if mask is not None and mask.pixels.any() else None
    return LabelledPhoto.of(photo.photo, replace(instances, masks=tuple(masks)), photo.name)
