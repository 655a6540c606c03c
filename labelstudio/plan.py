"""What to predict for a label config: for each image tag the control tags to fill, the classes, and the thresholds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from maskbridge.adapter.confidence import Confidence, confidence_of
from maskbridge.adapter.settings import class_choices
from maskbridge.labelstudio.label_config import ControlTag, ImageTag, LabelConfig, parse
from maskbridge.labelstudio.label_map import label_map, unmapped_labels
from maskbridge.labelstudio.tags import TAGS, Choices, FilledTag, LabelTag

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImagePlan:
    """What is predicted for the images of one image tag.

    Attributes:
        image: the image tag.
        tags: the label tags that get regions, and the choices that get an answer.
        classes: the class names that these tags have labels for; other classes are not computed.
        threshold: the lowest of the tags' thresholds.
        masks: whether any of the tags needs masks.
    """

    image: ImageTag
    tags: tuple[FilledTag, ...]
    classes: tuple[str, ...]
    threshold: float
    masks: bool


@dataclass(frozen=True)
class Plan:
    """What is predicted for a project's tasks.

    Attributes:
        images: the plans of the image tags; those without a label tag to fill are not in it.
        key: a hash of the tags and the confidence threshold.
        config: the parsed label config, which interactive predictions use.
    """

    images: tuple[ImagePlan, ...]
    key: str
    config: LabelConfig


@lru_cache(maxsize=256)
def make_plan(label_config: str, class_names: tuple[str, ...], confidence: Confidence | float) -> Plan:
    """Makes the plan of a label config. What it does not understand, unmapped labels, and classes without a label are
    logged, once for each config.

    Args:
        label_config: XML.
        class_names: the model's, with the background.
        confidence: the threshold of tags without a ``model_score_threshold``, or one for each class.

    Raises:
        LabelConfigError: the label config cannot be read.

    Example:
        >>> tag = '<PolygonLabels name="label" toName="image"><Label value="person"/></PolygonLabels>'
        >>> config = f'<View><Image name="image" value="$image"/>{tag}</View>'
        >>> (image,) = make_plan(config, ("__background__", "person"), 0.5).images
        >>> [tag.kind for tag in image.tags]
        ['PolygonLabels']
    """
    config = parse(label_config)
    for problem in config.problems:
        log.warning("the label config is not understood: %s", problem)
    return _plan_of(config, class_names, confidence_of(confidence))


def plan_for_task(
    label_config: str, class_names: tuple[str, ...], confidence: Confidence | float, data: Mapping[str, Any]
) -> Plan:
    """The plan of a label config for one task: another for each only if the config repeats tags or reads labels from it.

    Raises:
        LabelConfigError: the label config cannot be read, or has too many tags for this task.
    """
    plan = make_plan(label_config, class_names, confidence)
    config = plan.config.for_task(data)
    return plan if config is plan.config else _plan_of(config, class_names, confidence_of(confidence))


@lru_cache(maxsize=256)
def _plan_of(config: LabelConfig, class_names: tuple[str, ...], confidence: Confidence) -> Plan:
    """The plan of a parsed label config; unmapped labels are logged, once for each config."""
    names = class_choices(class_names)
    images = []
    for image in config.images:
        controls = [c for c in config.controls if image.name in c.to_names and not (c.skip or c.smart_only)]
        tags = [tag_of(c, image.name, names, confidence) or _choices_of(c, image, names, confidence) for c in controls]
        filled = tuple(tag for tag in tags if tag is not None and tag.labels)
        if filled:
            classes = [name for name in names if any(name in tag.labels for tag in filled)]
            threshold = min(tag.threshold_of(name) for tag in filled for name in tag.labels)
            masks = any(tag.needs_masks for tag in filled)
            images.append(ImagePlan(image, filled, tuple(classes), threshold, masks))
    _log_unmapped(config, images, names)
    key = hashlib.sha256(f"{confidence}\n{config.images}\n{config.controls}".encode()).hexdigest()[:16]
    return Plan(tuple(images), key, config)


def kind_of(control: ControlTag) -> type[LabelTag] | None:
    """The class for a control tag; None if the tag is not supported (choices, text areas, …)."""
    return next((kind for kind in TAGS if kind.matches(control.tag)), None)


def tag_of(control: ControlTag, image: str, class_names: Sequence[str], confidence: Confidence) -> LabelTag | None:
    """A control tag as a label tag on one image tag; None if the tag is not supported (choices, text areas, …)."""
    kind = kind_of(control)
    if kind is None:
        return None
    return kind(
        **_filling(control, image, class_names, confidence),
        label_names=tuple(dict.fromkeys(label.result_name for label in control.labels)),
        labels_name=control.labels_name,
    )


def _choices_of(control: ControlTag, image: ImageTag, class_names: Sequence[str], confidence: Confidence) -> Choices | None:
    """Choices for a whole image; None for another tag, and for choices of a region or of a whole list of images."""
    if control.tag.lower() != Choices.kind.lower() or control.per_region or (image.is_list and not control.per_item):
        return None
    return Choices(**_filling(control, image.name, class_names, confidence), multiple=control.multiple)


def _filling(control: ControlTag, image: str, class_names: Sequence[str], confidence: Confidence) -> dict[str, Any]:
    """The arguments that all filled tags have."""
    return {
        "from_name": control.name,
        "to_name": image,
        "labels": label_map(control.labels, class_names),
        "threshold": confidence.default if control.threshold is None else control.threshold,
        "class_thresholds": confidence.by_class if control.threshold is None else (),
    }


def _log_unmapped(config: LabelConfig, images: Sequence[ImagePlan], names: Sequence[str]) -> None:
    for control in config.controls:
        if kind_of(control) is not None and not control.skip:
            unmapped = unmapped_labels(control.labels, label_map(control.labels, names))
            if unmapped:
                log.warning("%s %r: unmapped labels (no class of the model): %s", control.tag, control.name, _few(unmapped))
    requested = {name for image in images for name in image.classes}
    unused = [name for name in names if name not in requested]
    if not requested and not config.depends_on_task:  # else a task may have labels
        log.warning("the label config has no label for a class of the model; the model's classes: %s", _few(names))
    elif requested and unused:
        log.info("classes without a label are not computed: %s", _few(unused))


def _few(names: Sequence[str], show: int = 20) -> str:
    more = f", … ({len(names)} in total)" if len(names) > show else ""
    return ", ".join(repr(name) for name in names[:show]) + more
