"""From images of tasks to regions: predict and encode, as a plan defines. The caller adds queues and deadlines.

Images are fetched with `maskbridge.labelstudio.images.fetching.Fetcher` and decoded with
`maskbridge.labelstudio.images.decoding.decode`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from maskbridge.adapter import ImageError, Instances, MaskRCNN
from maskbridge.labelstudio.plan import ImagePlan


@dataclass(frozen=True)
class ImageRegions:
    """The regions of one image: as JSON, separated by commas, without brackets around them; and their scores."""

    json: bytes
    scores: Sequence[float]


def predict(
    model: MaskRCNN, images: Sequence[torch.Tensor], plan: ImagePlan, *, mask_threshold: float, max_detections: int
) -> list[Instances | ImageError]:
    """The instances in images with the same plan; images with the same padded size share a batch.

    Args:
        model: predicts.
        images: uint8 [3, H, W] each.
        plan: names the classes and the confidence threshold.
        mask_threshold: pixels of at least this probability are in a mask, 0 to 1.
        max_detections: maximum number of instances in an image.

    Returns:
        For each image its instances, or the error of an image that failed.
    """
    settings = model.settings(
        confidence_threshold=plan.threshold,
        mask_threshold=mask_threshold,
        classes=plan.classes,
        max_detections=max_detections,
        masks=plan.masks,
    )
    return model.predict_read(images, settings)


def encode(instances: Instances, plan: ImagePlan, item_index: int | None = None) -> ImageRegions:
    """The regions of an image's instances, in each tag of the plan.

    Args:
        instances: of one image.
        plan: the plan of its image tag.
        item_index: the image's index if the image tag shows a list, else None.
    """
    regions = [region for tag in plan.tags for region in tag.encode(instances)]
    for region in regions:
        region |= {} if item_index is None else {"item_index": item_index}
    return ImageRegions(json.dumps(regions)[1:-1].encode(), [float(region["score"]) for region in regions])


def prediction(images: Sequence[ImageRegions], model_version: str) -> bytes:
    """The prediction of a task as JSON, from the regions of all its images; its score is the mean score of the regions.

    Example:
        >>> prediction([], "model-1")
        b'{"model_version": "model-1", "result": [], "score": 0.0}'
    """
    scores = [score for image in images for score in image.scores]
    score = sum(scores) / len(scores) if scores else 0.0
    head = f'{{"model_version": {json.dumps(model_version)}, "result": ['.encode()
    body = b", ".join(image.json for image in images if image.json)
    return head + body + f'], "score": {score}}}'.encode()
