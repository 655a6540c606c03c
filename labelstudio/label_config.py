"""A project's label config: its image tags and control tags, and which label means which class of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from maskbridge.adapter.errors import MaskbridgeError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LONGEST = 2_000_000
"""Characters: longer label configs are refused."""


class LabelConfigError(MaskbridgeError, ValueError):
    """A label config cannot be read."""


@dataclass(frozen=True)
class Label:
    """A ``<Label>``: ``value`` as people named it, ``shown`` as results carry it (its alias, if it has one), and the
    classes that its ``predicted_values`` name."""

    value: str
    shown: str
    predicted_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlTag:
    """A tag with labels.

    Attributes:
        tag: such as ``PolygonLabels``.
        name: the tag's name, ``from_name`` of its results.
        to_names: the image tags that it labels.
        labels: in the order of the config.
        threshold: ``model_score_threshold``, or None.
        skip: ``model_skip``: nothing is predicted for it.
        smart: it can be used to prompt the model.
        smart_only: it is nothing else than a prompt.
    """

    tag: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[Label, ...]
    threshold: float | None = None
    skip: bool = False
    smart: bool = False
    smart_only: bool = False


@dataclass(frozen=True)
class ImageTag:
    """An ``<Image>``: its name, the field of the task that it shows, and whether that field is a list of images."""

    name: str
    field: str
    is_list: bool = False


@dataclass(frozen=True)
class LabelConfig:
    """What of a label config matters here: `parse` makes it."""

    images: tuple[ImageTag, ...]
    controls: tuple[ControlTag, ...]


def parse(xml: str) -> LabelConfig:
    """Reads a label config. Attributes that name files, hosts or models have no meaning here.

    Raises:
        LabelConfigError: it is not XML, is too long, or declares entities or a document type.

    Example:
        >>> config = parse('<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
        ...                '<Label value="cat" alias="c"/></BrushLabels></View>')
        >>> config.images
        (ImageTag(name='image', field='image', is_list=False),)
        >>> config.controls[0].labels
        (Label(value='cat', shown='c', predicted_values=()),)
    """
    if not isinstance(xml, str) or len(xml) > LONGEST:
        raise LabelConfigError(f"a label config is XML of at most {LONGEST:,} characters")
    try:
        root = ElementTree.fromstring(xml, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the label config is not XML that can be read: {error}") from None
    return LabelConfig(tuple(_images(root)), tuple(_controls(root)))


def label_map(labels: Sequence[Label], class_names: Sequence[str]) -> dict[str, str]:
    """For each class that a label means the label, as results carry it.

    A label means the class of exactly its name; else those that its ``predicted_values`` name; else the class of its name
    without regard to case. A class belongs to the first label that means it, in this order.

    Args:
        labels: of one tag.
        class_names: the model's, without the background.

    Example:
        >>> label_map([Label("Person", "Person"), Label("pet", "pet", ("cat", "dog"))], ["person", "cat", "dog", "car"])
        {'cat': 'pet', 'dog': 'pet', 'person': 'Person'}
    """
    known = set(class_names)
    folded: dict[str, list[str]] = {}
    for name in class_names:
        folded.setdefault(name.casefold(), []).append(name)
    found: dict[str, str] = {}

    def exactly(label: Label) -> list[str]:
        return [name for name in (label.value, label.shown) if name in known]

    def as_listed(label: Label) -> list[str]:
        values = label.predicted_values
        return [name for value in values for name in ([value] if value in known else folded.get(value.casefold(), []))]

    def in_any_case(label: Label) -> list[str]:
        return [name for text in (label.value, label.shown) for name in folded.get(text.casefold(), [])]

    meaning: set[Label] = set()
    for rule in (exactly, as_listed, in_any_case):
        chosen = [(label, rule(label)) for label in labels if label not in meaning]
        for label, names in chosen:
            for name in names:
                found.setdefault(name, label.shown)
            if names:
                meaning.add(label)
    return found


def unmapped_labels(labels: Sequence[Label], found: Mapping[str, str]) -> list[str]:
    """The labels that mean no class, for people to read."""
    return [label.value for label in labels if label.shown not in found.values()]


def _images(root: Element) -> Iterator[ImageTag]:
    for element in root.iter():
        name = element.get("name")
        if _kind(element) == "image" and name:
            value, values = element.get("value") or "", element.get("valueList") or element.get("valuelist") or ""
            field = (values or value).removeprefix("$")
            if field:
                yield ImageTag(name, field, is_list=bool(values))


def _controls(root: Element) -> Iterator[ControlTag]:
    for element in root.iter():
        name, to_names = element.get("name"), element.get("toName") or element.get("toname")
        if name and to_names:
            yield ControlTag(
                tag=str(element.tag),
                name=name,
                to_names=tuple(part.strip() for part in to_names.split(",") if part.strip()),
                labels=tuple(_labels(element)),
                threshold=_threshold(element),
                skip=_is_true(element, "model_skip"),
                smart=_is_true(element, "smart") or _is_true(element, "smartOnly"),
                smart_only=_is_true(element, "smartOnly"),
            )


def _labels(control: Element) -> Iterator[Label]:
    for element in control.iter():
        value = element.get("value")
        if _kind(element) == "label" and value:
            values = (element.get("predicted_values") or "").split(",")
            yield Label(value, element.get("alias") or value, tuple(part.strip() for part in values if part.strip()))


def _threshold(element: Element) -> float | None:
    text = element.get("model_score_threshold") or element.get("score_threshold")
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value <= 1:
        raise LabelConfigError(f"model_score_threshold of {element.get('name')} is a number from 0 to 1, not {text!r}")
    return value


def _is_true(element: Element, name: str) -> bool:
    return (element.get(name) or element.get(name.lower()) or "").lower() in ("1", "true", "yes")


def _kind(element: Element) -> str:
    return str(element.tag).lower()
