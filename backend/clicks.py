"""Smart tools: a drawn rectangle becomes a mask, a keypoint picks the object under it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache

from maskbridge.adapter import Instances
from maskbridge.adapter.network import Features
from maskbridge.adapter.settings import class_choices
from maskbridge.backend.errors import PhotoError
from maskbridge.backend.label_config import ControlTag, ImageTag
from maskbridge.backend.label_map import label_map
from maskbridge.backend.plan import ImagePlan, Plan, photos_of, tag_of
from maskbridge.backend.predictor import Predictor
from maskbridge.backend.prompts import Prompt, read_prompts
from maskbridge.backend.serving_model import ServingModel
from maskbridge.backend.tags import TAGS, LabelTag, Region
from maskbridge.backend.tasks import photo_key

log = logging.getLogger(__name__)

CLICK_CONFIDENCE = 0.05
"""A person points at something: the object under a point is found though the model is far from sure of it."""


class Clicks:
    """Answers clicks, before the bulk work of `Predictor`.

    The features of recent photos stay in memory: the second click on a photo runs the heads only. Without a photo, a smart
    tool or an object under the point the answer is an empty result.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._lock = threading.Lock()
        self._features: LRUCache[tuple[str, str], Features] = LRUCache(
            predictor.settings.click_cache_megabytes * 1_000_000, getsizeof=_bytes_of
        )

    def answer(self, task: Mapping[str, Any], context: Mapping[str, Any], label_config: str, project: str) -> bytes:
        """A prediction as JSON, with the regions for what was drawn.

        Raises:
            LabelConfigError: the label config cannot be read.
            PhotoError: the photo cannot be had, or the model is not there in time.
        """
        end = time.monotonic() + self._predictor.settings.deadline
        serving = self._predictor.models.of(project)
        plan = self._predictor.plan(label_config, serving)
        prompts = [p for p in read_prompts(context, plan.config) if p.control.smart]
        regions = self._regions(task, prompts, plan, project, serving, end) if prompts else []
        score = max((float(region.get("score", 0)) for region in regions), default=0.0)
        return json.dumps({"model_version": serving.version, "result": regions, "score": score}).encode()

    def _regions(
        self,
        task: Mapping[str, Any],
        prompts: Sequence[Prompt],
        plan: Plan,
        project: str,
        serving: ServingModel,
        end: float,
    ) -> list[Region]:
        first = prompts[0]
        prompts = [p for p in prompts if (p.to_name, p.place) == (first.to_name, first.place)]
        tag = _answer_tag(plan, first, serving, self._predictor.settings.confidence)
        image = next((image for image in plan.config.images if image.name == first.to_name), None)
        if tag is None or image is None:
            log.warning("a click with %r has no label tag to answer in", first.control.name)
            return []
        value = _photo(task, image, first.place)
        key = (photo_key(value, project), serving.version)
        with self._lock:
            known = self._features.get(key)
        photos = [self._fetch(value, task)] if known is None else []

        def run() -> list[Region]:
            features = serving.model.encode(photos) if known is None else known
            return self._run(key, features, prompts, tag, serving)

        with self._predictor.metrics.timed("click"):
            regions = self._predictor.call(run, seconds=end - time.monotonic())
        for region in regions:
            region |= {} if first.place is None else {"item_index": first.place}
        return regions

    def _fetch(self, value: object, task: Mapping[str, Any]) -> torch.Tensor:
        task_id = task.get("id")
        return self._predictor.read(self._predictor.fetcher.fetch(value, task_id if isinstance(task_id, int) else None))

    def _run(
        self,
        key: tuple[str, str],
        features: Features,
        prompts: Sequence[Prompt],
        tag: LabelTag,
        serving: ServingModel,
    ) -> list[Region]:
        if _bytes_of(features) <= self._features.maxsize:
            with self._lock:
                self._features[key] = features
        boxes = [p for p in prompts if p.box is not None]
        if boxes:
            return [region for prompt in boxes for region in self._of_box(features, prompt, tag, serving)]
        return self._of_points(features, prompts, tag, serving)

    def _of_box(self, features: Features, prompt: Prompt, tag: LabelTag, serving: ServingModel) -> list[Region]:
        height, width = features.sizes[0]
        box = np.array([prompt.box], dtype=np.float64) * (width, height, width, height)
        classes = _classes(prompt, tag, serving)
        instances = serving.model.segment_boxes(
            features, box, mask_threshold=self._predictor.settings.mask_threshold, classes=classes
        )
        return _encoded(instances, 0, prompt, tag)

    def _of_points(
        self, features: Features, prompts: Sequence[Prompt], tag: LabelTag, serving: ServingModel
    ) -> list[Region]:
        height, width = features.sizes[0]
        classes = _classes(prompts[-1], tag, serving)
        settings = serving.model.settings(
            confidence_threshold=CLICK_CONFIDENCE,
            mask_threshold=self._predictor.settings.mask_threshold,
            classes=classes,
        )
        instances = serving.model.detect(features, settings)[0]
        points = [(p.point[0] * width, p.point[1] * height, p.positive) for p in prompts if p.point is not None]
        index = object_under(instances, points)
        return [] if index is None else _encoded(instances, index, prompts[-1], tag)


def object_under(instances: Instances, points: Sequence[tuple[float, float, bool]]) -> int | None:
    """The surest instance whose mask holds all positive points and no negative one; None where there is none.

    Args:
        points: x and y in pixels, and whether the point is on the object.
    """
    for index in np.argsort(-(instances.scores if instances.scores is not None else np.zeros(len(instances)))):
        crop = instances.masks[index]
        if crop is None:
            continue
        hits = [
            bool(crop.window(x, y, x + 1, y + 1).any()) == positive
            for x, y, positive in ((int(px), int(py), positive) for px, py, positive in points)
        ]
        if hits and all(hits) and any(positive for _, _, positive in points):
            return int(index)
    return None


def _answer_tag(plan: Plan, prompt: Prompt, serving: ServingModel, confidence: float) -> LabelTag | None:
    """The tag to answer in: the first of masks on that image that is not only a prompt; for a point else one of boxes."""
    names = class_choices(serving.model.class_names)

    def usable(control: ControlTag) -> bool:
        return prompt.to_name in control.to_names and not (control.smart_only or control.skip)

    controls = [c for c in plan.config.controls if usable(c)]
    for kind in TAGS:
        if kind.needs_masks or prompt.point is not None:
            for control in controls:
                if kind.matches(control.tag):
                    return tag_of(control, prompt.to_name, names, confidence)
    return None


def _classes(prompt: Prompt, tag: LabelTag, serving: ServingModel) -> list[str] | None:
    """The classes that the object may be of: those that the tool's label means, else those that the answer has labels for;
    None for all."""
    names = class_choices(serving.model.class_names)
    if prompt.label is not None:
        meant = [name for name, label in label_map(prompt.control.labels, names).items() if label == prompt.label]
        return meant or None
    return list(tag.labels) or None


def _encoded(instances: Instances, index: int, prompt: Prompt, tag: LabelTag) -> list[Region]:
    """The regions of an instance, labelled as the tool was, else by its class."""
    label = prompt.label if prompt.label in tag.label_names else tag.labels.get(instances.names[index])
    return [] if label is None else tag.encode_one(instances, index, label)


def _photo(task: Mapping[str, Any], image: ImageTag, place: int | None) -> object:
    plan = ImagePlan(image, (), (), 0.0, masks=True)
    try:
        photos = dict(photos_of(plan, task["data"]))
        return photos[place if image.is_list else None]
    except (KeyError, TypeError, AttributeError):
        raise PhotoError("task", f"its data has no photo in field {image.field!r}") from None


def _bytes_of(features: Features) -> int:
    tensors = [*features.levels.values(), *features.proposals]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
