"""The long job of ``segment_boxes``: masks for boxes that people drew, or another detector found."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import fiftyone as fo
import numpy as np
import torch

from maskbridge.adapter import Instances, MaskRCNN, SettingsError
from maskbridge.adapter.settings import class_choices
from maskbridge.plugin.destinations import write
from maskbridge.plugin.jobs import Progress, Report, Tally, run
from maskbridge.plugin.labels import from_detections, to_detections
from maskbridge.plugin.model import Failure
from maskbridge.plugin.models import load
from maskbridge.plugin.requests import check_names, field_name_problem, fraction_problem, whole_number_problem
from maskbridge.plugin.sources import Target, flat, photo_batches


@dataclass(frozen=True, kw_only=True)
class BoxesRequest:
    """A run of ``segment_boxes``.

    Attributes:
        label_field: the detections whose boxes get masks.
        new_field: where the labels with masks go; None for the same field.
        weights: for `maskbridge.adapter.MaskRCNN`.
        only_missing: leaves masks that are there as they are.
        mask_threshold: pixels of at least this probability are in a mask.
        num_workers: processes that read photos; 0 to read them in this one.
        device: such as ``"cpu"``; None for a GPU where there is one.
    """

    label_field: str
    new_field: str | None = None
    weights: str = "DEFAULT"
    only_missing: bool = True
    mask_threshold: float = 0.5
    num_workers: int = 0
    device: str | None = None

    @classmethod
    def from_options(cls, **options: Any) -> BoxesRequest:
        """From keyword arguments; None and empty ones have their defaults.

        Raises:
            SettingsError: an option has a wrong name or value.
        """
        check_names(cls, options)
        given = {name: value for name, value in options.items() if value not in (None, "")}
        if "label_field" not in given:
            raise SettingsError("label_field: the field with the boxes is needed")
        request = cls(**given)
        problems = {
            "new_field": request.new_field and field_name_problem(request.new_field),
            "mask_threshold": fraction_problem(request.mask_threshold),
            "num_workers": whole_number_problem(request.num_workers, 0, 64),
        }
        for name, problem in problems.items():
            if problem:
                raise SettingsError(f"{name}: {problem}")
        return request

    @property
    def target(self) -> str:
        """The field that is written."""
        return self.new_field or self.label_field


def segment_boxes(
    collection: fo.core.collections.SampleCollection, request: BoxesRequest
) -> Generator[Progress, None, Report]:
    """Fills in the masks of a collection's detections from their boxes; ids, labels, attributes and confidences are kept.

    A label that the weights know by name chooses the mask's class; for any other the network does. Iterates like
    `maskbridge.plugin.segmenting.segment`.

    Raises:
        MaskbridgeError: the request does not fit the dataset, the weights cannot be had, or the dataset went away.
    """
    dataset, samples = collection._root_dataset, flat(collection)
    for name in {request.label_field, request.target}:
        held = getattr(dataset.get_field(name), "document_type", None)
        if held is not fo.Detections and (name == request.label_field or dataset.get_field(name) is not None):
            has = "is not there" if dataset.get_field(name) is None else "holds no detections"
            raise SettingsError(f"the field {name!r} {has}: choose a field with boxes")
    if samples.media_type != "image":
        raise SettingsError("segment_boxes works on photos; make frames of videos with to_frames() first")
    samples = samples.exists(request.label_field)
    model = load(request.weights, request.device)
    return (
        yield from run(
            dataset,
            "segment_boxes",
            asdict(request),
            request.target,
            model,
            len(samples),
            0,
            lambda tally: _work(samples, request, model, tally),
        )
    )


def _work(samples: Any, request: BoxesRequest, model: MaskRCNN, tally: Tally) -> Iterator[None]:
    dataset = samples._root_dataset
    labels = dict(zip(*samples.values(["id", request.label_field])))
    targets = [Target(*pair) for pair in zip(*samples.values(["id", "filepath"]))]
    for (photo,) in photo_batches(targets, 1, request.num_workers):
        tally.done += 1
        if not isinstance(photo.image, torch.Tensor):
            tally.failures.append(Failure(photo.sample_id, photo.path, photo.image.reason))
        else:
            found = from_detections(labels[photo.sample_id], (photo.image.shape[-2], photo.image.shape[-1]))
            filled, wrong = fill(model, photo.image, found, request)
            write(dataset, request.target, {str(photo.sample_id): to_detections(filled)})
            tally.objects += len(filled)
            if wrong:
                tally.failures.append(Failure(photo.sample_id, photo.path, wrong))
        yield


def fill(model: MaskRCNN, image: torch.Tensor, instances: Instances, request: BoxesRequest) -> tuple[Instances, str | None]:
    """Instances with their masks filled in, and what was wrong with boxes that have no area in the photo (or None)."""
    height, width = instances.size
    x1, y1, x2, y2 = instances.boxes.T
    usable = (x1 < x2) & (y1 < y2) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)
    wanted = usable & np.array([mask is None or not request.only_missing for mask in instances.masks], dtype=bool)
    wrong = f"{(~usable).sum()} boxes have no area inside the photo" if not usable.all() else None
    if not wanted.any():
        return instances, wrong
    names = {name.lower(): name for name in class_choices(model.class_names)}
    places = np.flatnonzero(wanted)
    labels = [names.get(instances.names[place].lower()) for place in places]
    made = model.segment_boxes(image, instances.boxes[places], labels, mask_threshold=request.mask_threshold)
    masks = list(instances.masks)
    for place, mask in zip(places, made.masks):
        masks[place] = mask
    return replace(instances, masks=tuple(masks)), wrong
