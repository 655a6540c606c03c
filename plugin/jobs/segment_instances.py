"""The long job of ``segment_instances``: one generator, used by the operator, delegated runs and scripts alike."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom

from maskbridge.adapter import ImageError, SettingsError
from maskbridge.adapter.confidence import confidence_of
from maskbridge.plugin.datasets import flat
from maskbridge.plugin.jobs.base import Progress, Report, Run, Tally, execute, is_deleted
from maskbridge.plugin.jobs.model_cache import load
from maskbridge.plugin.jobs.reading import Target, frame_batches, image_batches
from maskbridge.plugin.jobs.records import unchanged_failures
from maskbridge.plugin.jobs.writing import discard, label_type, to_labels, write
from maskbridge.plugin.model import Failure, MaskRCNNModel
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest


def segment_instances(
    collection: fo.core.collections.SampleCollection, request: SegmentInstancesRequest
) -> Generator[Progress, None, Report]:
    """Detects the objects in a collection's images (or the frames of its videos) and writes them into a field.

    Yields after each batch, which is then in the database; closing the generator stops the run. The run is registered on
    the dataset before the first image and ended with its counts, also when it is stopped or fails. With ``existing="skip"``
    what failed before and is unchanged is not read again; it stays among the failures.

    Raises:
        MaskbridgeError: the request does not fit the dataset, the weights cannot be loaded, or the dataset was deleted.
    """
    dataset = collection._root_dataset
    samples = flat(collection)
    name = f"frames.{request.label_field}" if samples.media_type == fom.VIDEO else request.label_field
    check_field(samples, name, request)
    model = _model(request)
    remaining, failed = samples, []
    if request.existing == "skip":
        remaining = _unfinished(samples, name)
        known = unchanged_failures(dataset, name)
        failed = [Failure(**known[sample_id]) for sample_id in remaining.values("id") if sample_id in known]
        remaining = remaining.exclude([str(failure.sample_id) for failure in failed])
    work = _videos if samples.media_type == fom.VIDEO else _images
    run = Run(
        dataset=dataset,
        operator="segment_instances",
        request=request,
        field=name,
        model=model.model,
        total=_total(remaining),
        skipped=len(samples) - len(remaining) - len(failed),
    )

    def with_earlier_failures(tally: Tally) -> Iterator[None]:
        tally.failures += failed
        return work(remaining, name, request, model, tally)

    return (yield from execute(run, with_earlier_failures))


def check_field(samples: fo.core.collections.SampleCollection, name: str, request: SegmentInstancesRequest) -> None:
    """Raises `SettingsError` if the field holds another type, or has labels and ``existing`` is ``"stop"``.

    Example:
        >>> dataset = fo.Dataset()
        >>> dataset.add_sample_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Polylines)
        >>> check_field(dataset, "boxes", SegmentInstancesRequest(label_field="boxes"))
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: the field 'boxes' holds Polylines, not Detections: choose another field
    """
    dataset, expected = samples._root_dataset, label_type(request)
    field = dataset.get_field(name)
    if field is None:
        return
    actual = getattr(field, "document_type", type(field))
    if actual is not expected:
        raise SettingsError(f"the field {name!r} holds {actual.__name__}, not {expected.__name__}: choose another field")
    if request.existing == "stop" and (count := len(samples.exists(name))):
        raise SettingsError(f"{count} samples have labels in {name!r} already: replace them, or skip those samples")


def _model(request: SegmentInstancesRequest) -> MaskRCNNModel:
    return MaskRCNNModel(
        load(request),
        confidence_threshold=(
            confidence_of(request.class_confidence, default=request.confidence)
            if request.class_confidence
            else request.confidence
        ),
        mask_threshold=request.mask_threshold,
        classes=request.classes,
        max_detections=int(request.max_detections),
    )


def _unfinished(samples: Any, name: str) -> Any:
    if samples._root_dataset.get_field(name) is None:
        return samples
    if not name.startswith("frames."):
        return samples.exists(name, False)
    samples.compute_metadata()
    labels = samples.values(name)
    counts = samples.values("metadata.total_frame_count")
    ids = samples.values("id")
    unfinished = [
        i for i, frames, count in zip(ids, labels, counts) if sum(x is not None for x in frames or ()) < (count or 1)
    ]
    return samples.select(unfinished, ordered=True)


def _total(samples: Any) -> int:
    if samples.media_type != fom.VIDEO:
        return len(samples)
    samples.compute_metadata()
    return sum(count or 0 for count in samples.values("metadata.total_frame_count"))


def _batch_size(request: SegmentInstancesRequest) -> int:
    """The request's, but enough for its streams."""
    return int(request.batch_size) if request.streams == 1 else max(int(request.batch_size), 2 * request.streams)


def _images(
    samples: Any, name: str, request: SegmentInstancesRequest, model: MaskRCNNModel, tally: Tally
) -> Iterator[None]:
    dataset = samples._root_dataset
    earlier = tuple(tally.failures)
    targets = [Target(*pair) for pair in zip(*samples.values(["id", "filepath"]))]
    for batch in image_batches(targets, _batch_size(request), int(request.num_workers)):
        results = model.predict_instances(batch)
        labels = {
            str(image.sample_id): to_labels(instances, request, str(image.sample_id))
            for image, instances in zip(batch, results)
            if instances is not None
        }
        try:
            write(dataset, name, labels)
        except Exception:
            if is_deleted(dataset):
                discard(request, [target.sample_id for target in targets])
            raise
        tally.done += len(batch)
        tally.objects += sum(len(instances) for instances in results if instances is not None)
        tally.failures[len(earlier) :] = model.failures
        yield


def _videos(
    samples: Any, name: str, request: SegmentInstancesRequest, model: MaskRCNNModel, tally: Tally
) -> Iterator[None]:
    dataset, ids = samples._root_dataset, samples.values("id")
    for sample in samples:
        try:
            for batch in frame_batches(sample, _batch_size(request)):
                results = model.predict_instances([image for _, image in batch])
                labels = {
                    number: to_labels(instances, request, f"{sample.id}-{number}")
                    for (number, _), instances in zip(batch, results)
                    if instances is not None
                }
                sample.add_labels(labels, label_field=name.removeprefix("frames."))
                sample.save()
                tally.done += len(batch)
                tally.objects += sum(len(instances) for instances in results if instances is not None)
                yield
        except Exception as error:
            if is_deleted(dataset):
                discard(request, ids)
                raise
            reason = error.reason if isinstance(error, ImageError) else f"the video cannot be read: {error}"
            tally.failures.append(Failure(sample.id, sample.filepath, reason))
