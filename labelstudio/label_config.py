"""A project's label config: its image tags and control tags, and which label maps to which class of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.labelstudio.repeaters import attribute, repeat
from maskbridge.labelstudio.variables import as_list, is_variable, resolve

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CHARACTERS = 2_000_000
"""Longer label configs are refused."""


class LabelConfigError(MaskbridgeError, ValueError):
    """A label config cannot be read."""


@dataclass(frozen=True)
class Label:
    """A ``<Label>`` or ``<Choice>``.

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
        labels: in the order of the config; those of a ``<Brush>``, ``<Polygon>``, … are those of its ``<Labels>``.
        labels_name: the name of that ``<Labels>``; None if the tag has its own labels.
        threshold: ``model_score_threshold``, or None.
        skip: ``model_skip``: nothing is predicted for it.
        smart: whether it can be used to prompt the model.
        smart_only: whether it can only be used to prompt the model.
        multiple: whether several choices may be chosen.
        per_region: whether its results belong to a region rather than to the image.
        per_item: whether its results belong to one image of a list.
    """

    tag: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[Label, ...]
    labels_name: str | None = None
    threshold: float | None = None
    skip: bool = False
    smart: bool = False
    smart_only: bool = False
    multiple: bool = False
    per_region: bool = False
    per_item: bool = False


@dataclass(frozen=True)
class ImageTag:
    """An ``<Image>``: its name, its value (such as ``$image``), and whether it shows a list of images (``valueList``)."""

    name: str
    value: str
    is_list: bool = False


@dataclass(frozen=True)
class LabelConfig:
    """The parts of a label config that are used here; `parse` returns it.

    Attributes:
        images: the image tags.
        controls: the control tags.
        problems: what is not understood, with the tag's name.
        missing: lists for a ``<Repeater>`` that the task's data has not.
        xml: the text, if the tags depend on the task; else empty.
    """

    images: tuple[ImageTag, ...]
    controls: tuple[ControlTag, ...]
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    xml: str = field(default="", compare=False, repr=False)

    @property
    def depends_on_task(self) -> bool:
        """Whether `for_task` returns another config for each task."""
        return bool(self.xml)

    def for_task(self, data: Mapping[str, Any]) -> LabelConfig:
        """The config for one task: ``<Repeater>`` repeated and dynamic labels read, both from the task's data.

        Raises:
            LabelConfigError: it has too many tags for this task.
        """
        return _config(_root(self.xml), data) if self.depends_on_task else self


def parse(xml: str) -> LabelConfig:
    """Parses a label config. Attributes that name files, hosts or models are ignored.

    Raises:
        LabelConfigError: it is not XML, is too long, or declares entities or a document type.

    Example:
        >>> config = parse('<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
        ...                '<Label value="cat" alias="c"/></BrushLabels></View>')
        >>> config.images
        (ImageTag(name='image', value='$image', is_list=False),)
        >>> config.controls[0].labels
        (Label(value='cat', result_name='c', predicted_values=()),)
    """
    root = _root(xml)
    depends = any(_kind(e) == "repeater" or _lists_labels(e) for e in root.iter())
    return replace(_config(root, None), xml=xml if depends else "")


def _root(xml: str) -> Element:
    if not isinstance(xml, str) or len(xml) > MAX_CHARACTERS:
        raise LabelConfigError(f"a label config is XML of at most {MAX_CHARACTERS:,} characters")
    try:
        root: Element = ElementTree.fromstring(xml, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the label config is not XML that can be read: {error}") from None
    return root


def _config(root: Element, data: Mapping[str, Any] | None) -> LabelConfig:
    """The config of a parsed label config; with ``data`` for a task."""
    try:
        root, missing = (root, []) if data is None else repeat(root, data)
    except ValueError as error:
        raise LabelConfigError(str(error)) from None
    problems: list[str] = []
    images = tuple(_images(root, problems))
    controls = with_generic_labels(list(_controls(root, data or {})), problems)
    return LabelConfig(images, controls, tuple(problems), tuple(missing))


GENERIC_TAGS = ("brush", "bitmask", "polygon", "vector", "rectangle")
"""Tags that draw regions without labels of their own, which come from a ``<Labels>``."""


def with_generic_labels(controls: Sequence[ControlTag], problems: list[str]) -> tuple[ControlTag, ...]:
    """The controls, those of `GENERIC_TAGS` with the labels of the ``<Labels>`` on the same image."""
    labels = [control for control in controls if control.tag.lower() == "labels"]
    completed = []
    for control in controls:
        if control.tag.lower() in GENERIC_TAGS:
            own = next((one for one in labels if set(one.to_names) & set(control.to_names)), None)
            if own is None:
                problems.append(f"{control.tag} {control.name!r}: no <Labels> tag on its image: it gets no regions")
            else:
                threshold = own.threshold if control.threshold is None else control.threshold
                skip = control.skip or own.skip
                control = replace(control, labels=own.labels, labels_name=own.name, threshold=threshold, skip=skip)
        completed.append(control)
    return tuple(completed)


def _images(root: Element, problems: list[str]) -> Iterator[ImageTag]:
    for element in root.iter():
        name = element.get("name")
        if _kind(element) == "image" and name:
            value, values = attribute(element, "value"), attribute(element, "valueList")
            template = values or value
            if is_variable(template) or "/" in template:
                yield ImageTag(name, template, is_list=bool(values))
            else:
                problems.append(
                    f"{element.tag} {name!r}: its value {template[:100]!r} is neither a variable nor an address"
                )


def _controls(root: Element, data: Mapping[str, Any]) -> Iterator[ControlTag]:
    for element in root.iter():
        name, to_names = element.get("name"), attribute(element, "toName")
        if name and to_names:
            smart_only = _is_true(element, "smartOnly")
            yield ControlTag(
                tag=str(element.tag),
                name=name,
                to_names=tuple(part.strip() for part in to_names.split(",") if part.strip()),
                labels=tuple(_labels(element, data)),
                threshold=_threshold(element),
                skip=_is_true(element, "model_skip"),
                smart=_is_true(element, "smart") or smart_only,
                smart_only=smart_only,
                multiple=attribute(element, "choice").lower() == "multiple",
                per_region=_is_true(element, "perRegion"),
                per_item=_is_true(element, "perItem"),
            )


def _labels(control: Element, data: Mapping[str, Any]) -> Iterator[Label]:
    for element in control.iter():
        if _kind(element) in ("label", "choice") and (value := element.get("value")):
            yield _label(value, element.get("alias"), element.get("predicted_values"))
    if _lists_labels(control):
        try:
            listed = as_list(resolve(attribute(control, "value"), data)) or []
        except KeyError:
            listed = []
        yield from _listed_labels(listed)


def _listed_labels(listed: Sequence[Any], depth: int = 20) -> Iterator[Label]:
    """The labels in a task's data: texts, or objects with ``value``, perhaps ``alias``, and ``children``."""
    for entry in listed:
        given = entry if isinstance(entry, Mapping) else {"value": entry}
        texts = {name: text for name, text in given.items() if isinstance(text, str) and text}
        if "value" in texts:
            yield _label(texts["value"], texts.get("alias"), texts.get("predicted_values"))
        children = given.get("children")
        if isinstance(children, list) and depth:
            yield from _listed_labels(children, depth - 1)


def _label(value: str, alias: str | None, predicted_values: str | None) -> Label:
    values = (predicted_values or "").split(",")
    return Label(value, alias or value, tuple(part.strip() for part in values if part.strip()))


def _lists_labels(element: Element) -> bool:
    """Whether a control tag's labels are in the task's data: ``value="$labels"``."""
    return _kind(element).endswith(("labels", "choices")) and attribute(element, "value").startswith("$")


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
    return attribute(element, name).lower() in ("1", "true", "yes")


def _kind(element: Element) -> str:
    return str(element.tag).lower()
