"""A project's label config: its image tags and control tags, and which label maps to which class of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from maskbridge.adapter.errors import MaskbridgeError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CHARACTERS = 2_000_000
"""Longer label configs are refused."""


class LabelConfigError(MaskbridgeError, ValueError):
    """A label config cannot be read."""


@dataclass(frozen=True)
class Label:
    """A ``<Label>``.

    Attributes:
        value: its name in the label config.
        result_name: the text that results carry: its alias if it has one, else ``value``.
        predicted_values: the class names in its ``predicted_values``.
    """

    value: str
    result_name: str
    predicted_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlTag:
    """A control tag, such as ``<PolygonLabels>``.

    Attributes:
        tag: the element's name, such as ``PolygonLabels``.
        name: the tag's ``name``, which is ``from_name`` in its results.
        to_names: the names of the image tags that it labels.
        labels: in the order of the config.
        threshold: ``model_score_threshold``, or None.
        skip: ``model_skip``: nothing is predicted for it.
        smart: whether it can be used to prompt the model.
        smart_only: whether it can only be used to prompt the model.
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
    """An ``<Image>``: its name, the field of the task's data that it shows, and whether that field is a list of images."""

    name: str
    field: str
    is_list: bool = False


@dataclass(frozen=True)
class LabelConfig:
    """The parts of a label config that are used here; `parse` returns it."""

    images: tuple[ImageTag, ...]
    controls: tuple[ControlTag, ...]


def parse(xml: str) -> LabelConfig:
    """Parses a label config. Attributes that name files, hosts or models are ignored.

    Raises:
        LabelConfigError: it is not XML, is too long, or declares entities or a document type.

    Example:
        >>> config = parse('<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
        ...                '<Label value="cat" alias="c"/></BrushLabels></View>')
        >>> config.images
        (ImageTag(name='image', field='image', is_list=False),)
        >>> config.controls[0].labels
        (Label(value='cat', result_name='c', predicted_values=()),)
    """
    if not isinstance(xml, str) or len(xml) > MAX_CHARACTERS:
        raise LabelConfigError(f"a label config is XML of at most {MAX_CHARACTERS:,} characters")
    try:
        root = ElementTree.fromstring(xml, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the label config is not XML that can be read: {error}") from None
    return LabelConfig(tuple(_images(root)), tuple(_controls(root)))


def label_map(labels: Sequence[Label], class_names: Sequence[str]) -> dict[str, str]:
    """Maps class names of the model to labels, as results carry them. Classes without a label are not in the map.

    A label maps to the class with exactly its name; else to the classes in its ``predicted_values``; else to the class with
    its name in another case. If several labels map to one class, it gets the first of them, in this order of rules.

    Args:
        labels: the labels of one control tag.
        class_names: the model's class names, without the background.

    Example:
        >>> label_map([Label("Person", "Person"), Label("pet", "pet", ("cat", "dog"))], ["person", "cat", "dog", "car"])
        {'cat': 'pet', 'dog': 'pet', 'person': 'Person'}
    """
    names = set(class_names)
    folded: dict[str, list[str]] = {}
    for name in class_names:
        folded.setdefault(name.casefold(), []).append(name)
    mapping: dict[str, str] = {}

    def exactly(label: Label) -> list[str]:
        return [name for name in (label.value, label.result_name) if name in names]

    def as_listed(label: Label) -> list[str]:
        values = label.predicted_values
        return [name for value in values for name in ([value] if value in names else folded.get(value.casefold(), []))]

    def in_any_case(label: Label) -> list[str]:
        return [name for text in (label.value, label.result_name) for name in folded.get(text.casefold(), [])]

    mapped: set[Label] = set()
    for rule in (exactly, as_listed, in_any_case):
        matches = [(label, rule(label)) for label in labels if label not in mapped]
        for label, matching_names in matches:
            for name in matching_names:
                mapping.setdefault(name, label.result_name)
            if matching_names:
                mapped.add(label)
    return mapping


def unmapped_labels(labels: Sequence[Label], mapping: Mapping[str, str]) -> list[str]:
    """The labels that map to no class, by their ``value``; ``mapping`` is the `label_map` of these labels."""
    return [label.value for label in labels if label.result_name not in mapping.values()]


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
        raise LabelConfigError(f"model_score_threshold of {element.get('name')} must be a number from 0 to 1, not {text!r}")
    return value


def _is_true(element: Element, name: str) -> bool:
    return (element.get(name) or element.get(name.lower()) or "").lower() in ("1", "true", "yes")


def _kind(element: Element) -> str:
    return str(element.tag).lower()
