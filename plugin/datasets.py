"""A FiftyOne dataset's labels as a `LabeledDataset`, for training and evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.core.patches as fop

from maskbridge.adapter import ImageError, Instances, SettingsError
from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, SkippedImage, SkippedLabel, is_crowd
from maskbridge.adapter.errors import nearest
from maskbridge.adapter.images import read_size
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.plugin.labels import from_detections, from_polylines


def open_dataset(name: str) -> fo.Dataset:
    """Loads a dataset by its name.

    Raises:
        SettingsError: no such dataset; the message names the most similar one.

    Example:
        >>> _ = fo.Dataset("an-example", overwrite=True)
        >>> open_dataset("an-exampel")
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: no FiftyOne dataset 'an-exampel': did you mean 'an-example'?
    """
    if name not in fo.list_datasets():
        raise SettingsError(f"no FiftyOne dataset {name!r}: {nearest(name, fo.list_datasets())}")
    return fo.load_dataset(name)


def flat(collection: fo.core.collections.SampleCollection) -> fo.core.collections.SampleCollection:
    """The samples themselves: for patches their source images, for groups their active slice.

    Raises:
        SettingsError: the samples are neither images nor videos.
    """
    if isinstance(collection, fop.PatchesView):
        ids = list(dict.fromkeys(collection.values("sample_id")))
        collection = collection._root_dataset.select(ids, ordered=True)
    if collection.media_type is None:
        raise SettingsError("the dataset has no samples")
    if collection.media_type == fom.GROUP:
        collection = collection.select_group_slices(collection.group_slice)
    if collection.media_type not in (fom.IMAGE, fom.VIDEO):
        raise SettingsError(f"the samples are {collection.media_type}, not images or videos")
    return collection


def labeled_dataset(collection: fo.core.collections.SampleCollection, field: str) -> LabeledDataset:
    """The images of a dataset or view with the labels of a field: detections or polylines.

    Masks may be in the database or on disk. Samples without labels are images without objects. A label that FiftyOne marks
    as a crowd (``iscrowd``) stays marked.

    Raises:
        SettingsError: the samples are not images, or the field holds neither detections nor polylines.
    """
    samples = flat(collection)
    if samples.media_type != fom.IMAGE:
        raise SettingsError(f"the samples are {samples.media_type}s, not images")
    schema = samples._root_dataset.get_field_schema(flat=False)
    if field not in schema:
        raise SettingsError(f"no field {field!r}: {nearest(field, schema)}")
    label_type = getattr(schema[field], "document_type", type(schema[field]))
    convert = {fo.Detections: from_detections, fo.Polylines: from_polylines}.get(label_type)
    if convert is None:
        raise SettingsError(f"the field {field!r} holds {label_type.__name__}, not Detections or Polylines")
    names = samples.distinct(f"{field}.{label_type._LABEL_LIST_FIELD}.label")
    class_names = (BACKGROUND, *sorted(name for name in names if name))
    images, skipped, skipped_images = [], [], []
    for sample in samples.select_fields(field).iter_samples(progress=False):
        name = Path(sample.filepath).name
        try:
            size = read_size(sample.filepath)
        except ImageError as error:
            labels = getattr(sample[field], label_type._LABEL_LIST_FIELD, None) or ()
            skipped_images.append(SkippedImage(name, error.reason, len(labels)))
            continue
        valid = []
        for label in getattr(sample[field], label_type._LABEL_LIST_FIELD, None) or ():
            try:
                convert([label], size)
                valid.append(label)
            except (AnnotationError, ValueError, TypeError, OSError) as error:
                skipped.append(SkippedLabel(name, str(label.label), f"cannot be read: {error}"))
        images.append(LabeledImage.of(sample.filepath, _with_only_iscrowd(convert(valid, size, class_names)), name))
    return LabeledDataset(tuple(images), class_names, tuple(skipped), tuple(skipped_images))


def _with_only_iscrowd(instances: Instances) -> Instances:
    """Keeps only the attribute ``iscrowd``: others may share a name with COCO's and mean something else."""
    crowds = tuple({"iscrowd": int(is_crowd(attributes))} for attributes in instances.attributes or ())
    return replace(instances, attributes=crowds, scores=None)
