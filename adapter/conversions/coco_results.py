"""Instances as COCO's results and annotations (https://cocodataset.org/#format-results)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from maskbridge.adapter import coco
from maskbridge.adapter.instances import Instances

_KEYS = {"id", "image_id", "category_id", "bbox", "score", "segmentation"}


def to_coco(instances: Instances, image_id: int | str) -> list[dict[str, Any]]:
    """See `Instances.to_coco`.

    Example:
        >>> to_coco(Instances((9, 9), [[0, 0, 4, 4]], [1], ("__background__", "cat"), [None], scores=[0.5]), 7)
        [{'image_id': 7, 'category_id': 1, 'bbox': [0.0, 0.0, 4.0, 4.0], 'score': 0.5}]
    """
    results = []
    for index, (x1, y1, x2, y2) in enumerate(instances.boxes.astype(np.float64)):
        result: dict[str, Any] = {"image_id": image_id, "category_id": int(instances.labels[index])}
        result["bbox"] = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
        if instances.scores is not None:
            result["score"] = float(instances.scores[index])
        if (crop := instances.masks[index]) is not None:
            result["segmentation"] = coco.encode_rle(crop, instances.size)
        if instances.ids is not None:
            result["id"] = instances.ids[index]
        if instances.attributes is not None:
            result |= {k: v for k, v in instances.attributes[index].items() if k not in result}
        results.append(result)
    return results


def from_coco(annotations: Iterable[Mapping[str, Any]], size: tuple[int, int], categories: Mapping[int, str]) -> Instances:
    """See `Instances.from_coco`.

    Example:
        >>> from_coco([{"category_id": 3, "bbox": [0, 0, 4, 4]}], (9, 9), {3: "cat"})
        Instances(1 in 9 x 9: cat)
    """
    annotations = list(annotations)
    labels_of = {category: label for label, category in enumerate(categories)}
    boxes, masks = [], []
    for annotation in annotations:
        if annotation.get("category_id") not in labels_of:
            raise coco.AnnotationError(f"category {annotation.get('category_id')} is not in the categories")
        mask = coco.decode_segmentation(annotation.get("segmentation"), size)
        masks.append(mask)
        boxes.append(coco.corners_of(annotation.get("bbox"), mask))
    return Instances(
        size=size,
        boxes=np.asarray(boxes, dtype=np.float32),
        labels=np.asarray([labels_of[annotation["category_id"]] for annotation in annotations], dtype=np.int64),
        class_names=tuple(categories.values()),
        masks=tuple(masks),
        scores=np.asarray([a["score"] for a in annotations]) if all("score" in a for a in annotations) else None,
        ids=tuple(str(a["id"]) for a in annotations) if all("id" in a for a in annotations) else None,
        attributes=tuple({k: v for k, v in a.items() if k not in _KEYS} for a in annotations),
    )
