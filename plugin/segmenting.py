"""The long job of ``segment_instances``: one iterator, which the operator, a delegated run and a script all go through."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom

from maskbridge.adapter import SettingsError
from maskbridge.plugin.destinations import discard, label_type, to_labels, write
from maskbridge.plugin.jobs import Progress, Report, Tally, is_gone, run
from maskbridge.plugin.model import Failure, MaskRCNNModel
from maskbridge.plugin.models import load
from maskbridge.plugin.requests import SegmentRequest
from maskbridge.plugin.sources import Target, flat, frame_batches, photo_batches


def segment(collection: fo.core.collections.SampleCollection, request: SegmentRequest) -> Generator[Progress, None, Report]:
    """Finds the objects in a collection's photos (or the frames of its videos) and writes them into a field.

    Yields after each batch, which is then in the database; closing the iterator stops the run. The run is registered on
    the dataset before the first photo and ended with what came of it, also when it is stopped or fails.

    Raises:
        MaskbridgeError: the request does not fit the dataset, the weights cannot be had, or the dataset went away.
    """
    dataset = collection._root_dataset
    samples = flat(collection)
    name = f"frames.{request.label_field}" if samples.media_type == fom.VIDEO else request.label_field
    check_field(samples, name, request)
    model = _model(request)
    todo = _without_done(samples, name) if request.existing == "skip" else samples
    work = _videos if samples.media_type == fom.VIDEO else _photos
    return (
        yield from run(
            dataset,
            "segment_instances",
            request.to_dict(),
            name,
            model.model,
            _total(todo),
            len(samples) - len(todo),
            lambda tally: work(todo, name, request, model, tally),
        )
    )


def check_field(samples: fo.core.collections.SampleCollection, name: str, request: SegmentRequest) -> None:
    """Raises `SettingsError` where the field holds another type, or labels although the request says to stop then."""
    dataset, wanted = samples._root_dataset, label_type(request)
    found = dataset.get_field(name)
    if found is None:
        return
    holds = getattr(found, "document_type", type(found))
    if holds is not wanted:
        raise SettingsError(f"the field {name!r} holds {holds.__name__}, not {wanted.__name__}: choose another field")
    if request.existing == "stop" and (count := len(samples.exists(name))):
        raise SettingsError(f"{count} samples have labels in {name!r} already: replace them, or skip those samples")


def _model(request: SegmentRequest) -> MaskRCNNModel:
    return MaskRCNNModel(
        load(request.weights, request.device),
        confidence_threshold=request.confidence,
        mask_threshold=request.mask_threshold,
        classes=request.classes,
        max_detections=int(request.max_detections),
    )


def _without_done(samples: Any, name: str) -> Any:
    if samples._root_dataset.get_field(name) is None:
        return samples
    if not name.startswith("frames."):
        return samples.exists(name, False)
    samples.compute_metadata()
    labels = samples.values(name)
    counts = samples.values("metadata.total_frame_count")
    ids = samples.values("id")
    open_ids = [i for i, found, count in zip(ids, labels, counts) if sum(x is not None for x in found or ()) < (count or 1)]
    return samples.select(open_ids, ordered=True)


def _total(samples: Any) -> int:
    if samples.media_type != fom.VIDEO:
        return len(samples)
    samples.compute_metadata()
    return sum(count or 0 for count in samples.values("metadata.total_frame_count"))


def _photos(samples: Any, name: str, request: SegmentRequest, model: MaskRCNNModel, tally: Tally) -> Iterator[None]:
    dataset = samples._root_dataset
    targets = [Target(*pair) for pair in zip(*samples.values(["id", "filepath"]))]
    with model:
        for batch in photo_batches(targets, int(request.batch_size), int(request.num_workers)):
            found = model.predict_instances(batch)
            labels = {
                str(photo.sample_id): to_labels(instances, request, str(photo.sample_id))
                for photo, instances in zip(batch, found)
                if instances is not None
            }
            try:
                write(dataset, name, labels)
            except Exception:
                if is_gone(dataset):
                    discard(request, [target.sample_id for target in targets])
                raise
            tally.done += len(batch)
            tally.objects += sum(len(instances) for instances in found if instances is not None)
            tally.failures[:] = model.failures
            yield


def _videos(samples: Any, name: str, request: SegmentRequest, model: MaskRCNNModel, tally: Tally) -> Iterator[None]:
    dataset, ids = samples._root_dataset, samples.values("id")
    for sample in samples:
        try:
            for batch in frame_batches(sample, int(request.batch_size)):
                found = model.predict_instances([photo for _, photo in batch])
                labels = {
                    number: to_labels(instances, request, f"{sample.id}-{number}")
                    for (number, _), instances in zip(batch, found)
                    if instances is not None
                }
                sample.add_labels(labels, label_field=name.removeprefix("frames."))
                sample.save()
                tally.done += len(batch)
                tally.objects += sum(len(instances) for instances in found if instances is not None)
                yield
        except Exception as error:
            if is_gone(dataset):
                discard(request, ids)
                raise
            tally.failures.append(Failure(sample.id, sample.filepath, f"the video cannot be read: {error}"))
