"""Predictions for smart tools: a drawn rectangle becomes a mask, a keypoint selects the object under it."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache

from maskbridge.adapter import Instances
from maskbridge.adapter.confidence import Confidence, confidence_of
from maskbridge.adapter.network import Features
from maskbridge.adapter.settings import class_choices
from maskbridge.backend.inference.predictor import Predictor
from maskbridge.backend.inference.registry import ServingModel
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import ControlTag, ImageTag
from maskbridge.labelstudio.label_map import label_map
from maskbridge.labelstudio.plan import Plan, tag_of
from maskbridge.labelstudio.prompts import Prompt, read_prompts
from maskbridge.labelstudio.tags import TAGS, LabelTag, Region
from maskbridge.labelstudio.tasks import image_key, image_values

log = logging.getLogger(__name__)

CLICK_CONFIDENCE = 0.05
"""The confidence threshold for keypoints: an annotator points at an object, so a low score is enough."""


@dataclass(frozen=True)
class _Click:
    """One interactive request.

    Attributes:
        prompts: on one image.
        tag: to answer in.
        serving: the model.
        value: the image's address.
        public_url: of the project's Label Studio, or None.
        key: of cached features.
    """

    prompts: Sequence[Prompt]
    tag: LabelTag
    serving: ServingModel
    value: object
    public_url: str | None
    key: tuple[str, str]


class InteractivePredictor:
    """Answers clicks, with priority over the images of `Predictor`.

    The features of recent images stay in memory: the second click on an image runs only the heads. The result is empty, and
    the reason logged, if nothing was drawn with a smart tool, no tag can hold the answer, or no object is under the point.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._lock = threading.Lock()
        self._features: LRUCache[tuple[str, str], Features] = LRUCache(
            predictor.settings.click_cache_megabytes * 1_000_000, getsizeof=_bytes_of
        )

    def answer(
        self, task: Mapping[str, Any], context: Mapping[str, Any], label_config: str, project: int | None = None
    ) -> bytes:
        """A prediction as JSON, with the regions for the drawn prompts.

        Args:
            task: a task of Label Studio, with ``id`` and ``data``.
            context: the request's ``context``, with the drawn regions in ``result``.
            label_config: the project's.
            project: the project's number.

        Raises:
            LabelConfigError: the label config cannot be read.
            TaskImageError: the image cannot be fetched, or the model does not answer in time.
        """
        deadline = time.monotonic() + self._predictor.settings.deadline
        serving = self._predictor.registry.get(project)
        plan = self._predictor.task_plan(label_config, serving, task)
        regions: list[Region] = []
        click = self._click(plan, task, context, serving, project)
        if isinstance(click, str):
            log.warning("click in task %s: no answer: %s", task.get("id"), click)
        else:
            regions = self._regions(click, task, deadline)
            if not regions:
                log.warning("click in task %s: no answer: %s", task.get("id"), _no_object(click))
        score = max((float(region.get("score", 0)) for region in regions), default=0.0)
        return json.dumps({"model_version": serving.version, "result": regions, "score": score}).encode()

    def _click(
        self,
        plan: Plan,
        task: Mapping[str, Any],
        context: Mapping[str, Any],
        serving: ServingModel,
        project: int | None,
    ) -> _Click | str:
        """What was drawn, and in which tag to answer; or why there is nothing to answer."""
        drawn = read_prompts(context, plan.config)
        prompts = [prompt for prompt in drawn if prompt.control.smart]
        if not prompts:
            return f"nothing was drawn with a smart tool ({len(drawn)} with others)"
        first = prompts[0]
        prompts = [p for p in prompts if (p.to_name, p.item_index) == (first.to_name, first.item_index)]
        tag = _answer_tag(plan, first, serving, confidence_of(self._predictor.settings.confidence))
        image = next((image for image in plan.config.images if image.name == first.to_name), None)
        if tag is None or image is None:
            return f"no tag of the label config can hold the answer to {first.control.tag} {first.control.name!r}"
        value = _image_value(task, image, first.item_index)
        public_url = self._predictor.projects.hostname_of(project)
        return _Click(prompts, tag, serving, value, public_url, (image_key(value, project), serving.version))

    def _regions(self, click: _Click, task: Mapping[str, Any], deadline: float) -> list[Region]:
        with self._lock:
            features = self._features.get(click.key)
        images = [self._fetch(click, task)] if features is None else []

        def run() -> list[Region]:
            return self._run(click, click.serving.model.encode(images) if features is None else features)

        with self._predictor.metrics.timed("click"):
            regions = self._predictor.jobs.model_thread.call(run, seconds=deadline - time.monotonic())
        item_index = click.prompts[0].item_index
        for region in regions:
            region |= {} if item_index is None else {"item_index": item_index}
        return regions

    def _fetch(self, click: _Click, task: Mapping[str, Any]) -> torch.Tensor:
        task_id = task.get("id") if isinstance(task.get("id"), int) else None
        data = self._predictor.fetcher.fetch(click.value, task_id, public_url=click.public_url)
        return self._predictor.decode_now(data)

    def _run(self, click: _Click, features: Features) -> list[Region]:
        if _bytes_of(features) <= self._features.maxsize:
            with self._lock:
                self._features[click.key] = features
        boxes = [prompt for prompt in click.prompts if prompt.box is not None]
        if boxes:
            return [region for prompt in boxes for region in self._of_box(click, features, prompt)]
        return self._of_points(click, features)

    def _of_box(self, click: _Click, features: Features, prompt: Prompt) -> list[Region]:
        height, width = features.sizes[0]
        box = np.array([prompt.box], dtype=np.float64) * (width, height, width, height)
        instances = click.serving.model.segment_boxes(
            features,
            box,
            mask_threshold=self._predictor.settings.mask_threshold,
            classes=_classes(prompt, click.tag, click.serving),
        )
        return _encoded(instances, 0, prompt, click.tag)

    def _of_points(self, click: _Click, features: Features) -> list[Region]:
        height, width = features.sizes[0]
        last = click.prompts[-1]
        settings = click.serving.model.settings(
            confidence_threshold=CLICK_CONFIDENCE,
            mask_threshold=self._predictor.settings.mask_threshold,
            classes=_classes(last, click.tag, click.serving),
        )
        instances = click.serving.model.detect(features, settings)[0]
        points = [(p.point[0] * width, p.point[1] * height, p.positive) for p in click.prompts if p.point is not None]
        index = object_under(instances, points)
        return [] if index is None else _encoded(instances, index, last, click.tag)


def object_under(instances: Instances, points: Sequence[tuple[float, float, bool]]) -> int | None:
    """The index of the instance with the highest score whose mask contains all positive points and no negative one.

    Args:
        instances: the instances of one image.
        points: x and y in pixels, and whether the point is positive (on the object).

    Returns:
        The index, or None if there is no such instance.

    Example:
        >>> from maskbridge.adapter.masks import MaskCrop
        >>> mask = MaskCrop(2, 2, np.ones((4, 4), dtype=bool))
        >>> cat = Instances((9, 9), [[2, 2, 6, 6]], [1], ("__background__", "cat"), [mask], scores=[0.9])
        >>> object_under(cat, [(3, 3, True)]), object_under(cat, [(8, 8, True)])
        (0, None)
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


def _no_object(click: _Click) -> str:
    """Why a click with a tag to answer in has no answer."""
    prompt = click.prompts[-1]
    classes = _classes(prompt, click.tag, click.serving)
    if not classes and (prompt.label or "") not in click.tag.label_names:
        return f"no label of {click.tag.from_name!r} maps to a class of the model"
    if prompt.point is None:
        return "no object is in the box, or its mask is empty"
    return "no object is under the point" if prompt.positive else "no object has the points on it and the others beside it"


def _answer_tag(plan: Plan, prompt: Prompt, serving: ServingModel, confidence: Confidence) -> LabelTag | None:
    """The first tag on that image that is not only for prompts: one for masks, or, for a point, else one for boxes."""
    names = class_choices(serving.model.class_names)

    def usable(control: ControlTag) -> bool:
        return prompt.to_name in control.to_names and not (control.smart_only or control.skip)

    controls = [control for control in plan.config.controls if usable(control)]
    for kind in TAGS:
        if kind.needs_masks or prompt.point is not None:
            for control in controls:
                if kind.matches(control.tag):
                    return tag_of(control, prompt.to_name, names, confidence)
    return None


def _classes(prompt: Prompt, tag: LabelTag, serving: ServingModel) -> list[str] | None:
    """The class names that the object may have: those that the tool's label maps to, else those that the answer's tag has
    labels for; None for all."""
    names = class_choices(serving.model.class_names)
    if prompt.label is not None:
        mapped = [name for name, label in label_map(prompt.control.labels, names).items() if label == prompt.label]
        return mapped or None
    return list(tag.labels) or None


def _encoded(instances: Instances, index: int, prompt: Prompt, tag: LabelTag) -> list[Region]:
    """The regions of an instance, with the tool's label, else with the label of its class."""
    label = prompt.label if prompt.label in tag.label_names else tag.labels.get(instances.names[index])
    return [] if label is None else tag.encode_one(instances, index, label)


def _image_value(task: Mapping[str, Any], image: ImageTag, item_index: int | None) -> object:
    try:
        values = {shown.index: shown.value for shown in image_values(image, task["data"])}
        return values[item_index if image.is_list else None]
    except (KeyError, TypeError, AttributeError):
        raise TaskImageError("task", f"the task's data has no image at {image.value}") from None


def _bytes_of(features: Features) -> int:
    tensors = [*features.levels.values(), *features.proposals]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
