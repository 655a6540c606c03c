"""The long job of ``segment_boxes``: masks for boxes that annotators drew or another detector predicted."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import fiftyone as fo
import numpy as np
import torch

from maskbridge.adapter import Instances, MaskRCNN, SettingsError
from maskbridge.adapter.settings import class_choices
from maskbridge.plugin.datasets import flat
from maskbridge.plugin.jobs.base import Progress, Report, Run, Tally, execute
from maskbridge.plugin.jobs.model_cache import load
from maskbridge.plugin.jobs.reading import Target, image_batches
from maskbridge.plugin.jobs.writing import write
from maskbridge.plugin.labels import from_detections, to_detections
from maskbridge.plugin.model import Failure
from maskbridge.plugin.requests.segment_boxes import SegmentBoxesRequest


def segment_boxes(
    collection: fo.core.collections.SampleCollection, request: SegmentBoxesRequest
) -> Generator[Progress, None, Report]:
    """Fills in the masks of a collection's detections from their boxes; ids, labels, attributes and confidences are kept.

    A label that is a class name of the weights chooses the mask's class; for any other the network does. Iterates like
    `maskbridge.plugin.jobs.segment_instances.segment_instances`.

    Raises:
        MaskbridgeError: the request does not fit the dataset, the weights cannot be loaded, or the dataset was deleted.
    """
    dataset, samples = collection._root_dataset, flat(collection)
    for name in {request.label_field, request.written_field}:
        label_type = getattr(dataset.get_field(name), "document_type", None)
        if label_type is not fo.Detections and (name == request.label_field or dataset.get_field(name) is not None):
            problem = "does not exist" if dataset.get_field(name) is None else "holds no detections"
            raise SettingsError(f"the field {name!r} {problem}: choose a field with boxes")
    if samples.media_type != "image":
        raise SettingsError("segment_boxes works on images; make frames of videos with to_frames() first")
    samples = samples.exists(request.label_field)
    model = load(request)
    run = Run(
        dataset=dataset,
        operator="segment_boxes",
        request=request,
        field=request.written_field,
        model=model,
        total=len(samples),
    )
    return (yield from execute(run, lambda tally: _work(samples, request, model, tally)))


def _work(samples: Any, request: SegmentBoxesRequest, model: MaskRCNN, tally: Tally) -> Iterator[None]:
    dataset = samples._root_dataset
    labels = dict(zip(*samples.values(["id", request.label_field])))
    targets = [Target(*pair) for pair in zip(*samples.values(["id", "filepath"]))]
    for (loaded,) in image_batches(targets, 1, int(request.num_workers)):
        tally.done += 1
        if not isinstance(loaded.image, torch.Tensor):
            tally.failures.append(Failure(loaded.sample_id, loaded.path, loaded.image.reason))
        else:
            instances = from_detections(labels[loaded.sample_id], (loaded.image.shape[-2], loaded.image.shape[-1]))
            filled, problem = fill(model, loaded.image, instances, request)
            write(dataset, request.written_field, {str(loaded.sample_id): to_detections(filled)})
            tally.objects += len(filled)
            if problem:
                tally.failures.append(Failure(loaded.sample_id, loaded.path, problem))
        yield


def fill(
    model: MaskRCNN, image: torch.Tensor, instances: Instances, request: SegmentBoxesRequest
) -> tuple[Instances, str | None]:
    """Instances with their masks filled in, and a message about boxes that have no area in the image, or None.

    Example:
        >>> from maskbridge.plugin.jobs.model_cache import load
        >>> request = SegmentBoxesRequest(label_field="boxes", weights="bundled", device="cpu")
        >>> box = Instances((60, 80), [[10, 10, 50, 50]], [1], ("__background__", "person"), [None])
        >>> filled, problem = fill(load(request), torch.zeros(3, 60, 80, dtype=torch.uint8), box, request)
        >>> filled.masks[0] is None, problem
        (False, None)
    """
    height, width = instances.size
    x1, y1, x2, y2 = instances.boxes.T
    usable = (x1 < x2) & (y1 < y2) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)
    requested = usable & np.array([mask is None or not request.only_missing for mask in instances.masks], dtype=bool)
    problem = f"{(~usable).sum()} boxes have no area inside the image" if not usable.all() else None
    if not requested.any():
        return instances, problem
    names = {name.lower(): name for name in class_choices(model.class_names)}
    indices = np.flatnonzero(requested)
    labels = [names.get(instances.names[index].lower()) for index in indices]
    segmented = model.segment_boxes(image, instances.boxes[indices], labels, mask_threshold=request.mask_threshold)
    masks = list(instances.masks)
    for index, mask in zip(indices, segmented.masks):
        masks[index] = mask
    return replace(instances, masks=tuple(masks)), problem
