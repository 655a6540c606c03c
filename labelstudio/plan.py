"""What a label config asks of the model: for each image tag the tags to fill, the classes to look for, the settings."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from maskbridge.adapter.settings import class_choices
from maskbridge.labelstudio.label_config import ControlTag, ImageTag, LabelConfig, label_map, parse, unmapped_labels
from maskbridge.labelstudio.tags import TAGS, LabelTag

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImagePlan:
    """What is predicted for the images of one image tag.

    Attributes:
        image: the image tag.
        tags: what is filled.
        classes: the classes that these tags have labels for; no others are computed.
        threshold: the least of the tags' thresholds.
        masks: whether a tag needs masks.
    """

    image: ImageTag
    tags: tuple[LabelTag, ...]
    classes: tuple[str, ...]
    threshold: float
    masks: bool


@dataclass(frozen=True)
class Plan:
    """What is predicted for a project's tasks.

    Attributes:
        images: the image tags that something is predicted for.
        key: short and stable: the label config and the settings that made the plan.
        config: the label config, for clicks.
    """

    images: tuple[ImagePlan, ...]
    key: str
    config: LabelConfig


@lru_cache(maxsize=256)
def make_plan(label_config: str, class_names: tuple[str, ...], confidence: float) -> Plan:
    """Reads a label config for a model with these class names; labels and classes that mean nothing are logged, once.

    Raises:
        LabelConfigError: it cannot be read.
    """
    config = parse(label_config)
    names = class_choices(class_names)
    images = []
    for image in config.images:
        controls = [c for c in config.controls if image.name in c.to_names and not (c.skip or c.smart_only)]
        tags = [tag for c in controls for tag in [tag_of(c, image.name, names, confidence)] if tag is not None]
        filled = tuple(tag for tag in tags if tag.labels)
        if filled:
            classes = [name for name in names if any(name in tag.labels for tag in filled)]
            threshold = min(tag.threshold for tag in filled)
            masks = any(tag.needs_masks for tag in filled)
            images.append(ImagePlan(image, filled, tuple(classes), threshold, masks))
    _log_unmapped(config, images, names)
    key = hashlib.sha256(f"{confidence}\n{label_config}".encode()).hexdigest()[:16]
    return Plan(tuple(images), key, config)


def kind_of(control: ControlTag) -> type[LabelTag] | None:
    """The class of a control tag, None for one that is not understood (choices, text areas, …)."""
    return next((kind for kind in TAGS if kind.matches(control.tag)), None)


def tag_of(control: ControlTag, image: str, class_names: Sequence[str], confidence: float) -> LabelTag | None:
    """The tag that a control tag is, None for one that is not understood (choices, text areas, …)."""
    kind = kind_of(control)
    if kind is None:
        return None
    return kind(
        from_name=control.name,
        to_name=image,
        labels=label_map(control.labels, class_names),
        label_names=tuple(dict.fromkeys(label.shown for label in control.labels)),
        threshold=confidence if control.threshold is None else control.threshold,
    )


def _log_unmapped(config: LabelConfig, images: Sequence[ImagePlan], names: Sequence[str]) -> None:
    for control in config.controls:
        if kind_of(control) is not None and not control.skip:
            missing = unmapped_labels(control.labels, label_map(control.labels, names))
            if missing:
                log.warning("%s %r: no class of the model is meant by: %s", control.tag, control.name, _few(missing))
    wanted = {name for image in images for name in image.classes}
    unused = [name for name in names if name not in wanted]
    if not wanted:
        log.warning("the label config asks for nothing that the model can give; its classes: %s", _few(names))
    elif unused:
        log.info("classes without a label are not computed: %s", _few(unused))


def _few(names: Sequence[str], show: int = 20) -> str:
    more = f", … ({len(names)} in all)" if len(names) > show else ""
    return ", ".join(repr(name) for name in names[:show]) + more
