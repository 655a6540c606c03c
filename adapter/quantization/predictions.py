"""A model's predictions for the images of a place, with their scores and the time that they took."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, SkippedImage
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.evaluation.measure import measure
from maskbridge.adapter.images import ImageInput
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.quantization.agreement import Annotations


@dataclass(frozen=True)
class Predictions:
    """Predictions for images.

    Attributes:
        predicted: by the image's index; those that can be used.
        skipped: the others.
        seconds: for an image, the median.
        ap: COCO's AP as a fraction, of masks or, if the labels have none, of boxes; None without labels.
    """

    predicted: dict[int, LabeledImage]
    skipped: tuple[SkippedImage, ...]
    seconds: float
    ap: float | None

    def annotations_of(self, indices: Iterable[int]) -> list[Annotations]:
        """The objects of images."""
        return [self.predicted[index].annotations for index in indices]


def predict_all(
    model: MaskRCNN, images: Sequence[ImageInput], labels: LabeledDataset | None
) -> Generator[int, None, Predictions]:
    """Predicts for images one after the other; yields how many are done.

    Args:
        model: the model.
        images: what to predict for.
        labels: of the same images in the same order; None if there are none.

    Raises:
        DataError: there are labels, but none is of a class of the model, or no image can be used.

    Example:
        >>> import numpy as np
        >>> steps = predict_all(MaskRCNN("bundled", device="cpu"), [np.zeros((40, 60, 3), np.uint8)], None)
        >>> len(run_to_end(steps).predicted)
        1
    """
    results: list[Instances | ImageError] = []
    seconds: list[float] = []
    start = time.perf_counter()
    for result in model.predict_each(images, batch_size=1):
        seconds.append(time.perf_counter() - start)
        results.append(result)
        yield len(results)
        start = time.perf_counter()
    predicted = {
        index: LabeledImage.of(image, result)
        for index, (image, result) in enumerate(zip(images, results))
        if isinstance(result, Instances)
    }
    skipped = tuple(
        SkippedImage(str(image) if isinstance(image, (str, os.PathLike)) else f"image {index}", result.reason)
        for index, (image, result) in enumerate(zip(images, results))
        if isinstance(result, ImageError)
    )
    ap = None
    if labels is not None:
        names = [name for name in labels.class_names if name in model.class_names]
        evaluation = run_to_end(measure(labels, results, names))
        ap, skipped = evaluation.main.numbers["AP"], evaluation.skipped_images
    return Predictions(predicted, skipped, statistics.median(seconds), ap)
