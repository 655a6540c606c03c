"""Label configs whose tags depend on the task: ``<Repeater>``, and labels that the task's data lists."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maskbridge.labelstudio.variables import as_list, resolve

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_ELEMENTS = 20_000
"""Maximum number of elements that a label config may have for one task."""


def repeat(root: Element, data: Mapping[str, Any]) -> tuple[Element, list[str]]:
    """A label config for one task: the tags in a ``<Repeater>`` once for each item of its list, with their index.

    The index replaces ``indexFlag`` (by default ``{{idx}}``) in all attributes, as in Label Studio's editor.

    Returns:
        The config, and the lists that the task's data has not.

    Raises:
        ValueError: the config would have more than `MAX_ELEMENTS` elements.

    Example:
        >>> from xml.etree import ElementTree
        >>> root = ElementTree.fromstring('<View><Repeater on="$pages"><Image name="page{{idx}}"/></Repeater></View>')
        >>> [image.get("name") for image in repeat(root, {"pages": ["a", "b"]})[0].iter("Image")]
        ['page0', 'page1']
    """
    missing: list[str] = []
    return _repeated(root, data, [MAX_ELEMENTS], missing), missing


def _repeated(element: Element, data: Mapping[str, Any], budget: list[int], missing: list[str]) -> Element:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError(f"the label config has more than {MAX_ELEMENTS:,} elements for this task")
    repeated = copy.copy(element)
    repeated[:] = []
    if str(element.tag).lower() != "repeater":
        repeated.extend([_repeated(child, data, budget, missing) for child in element])
        return repeated
    flag = attribute(element, "indexFlag") or "{{idx}}"
    template = attribute(element, "on")
    try:
        items = as_list(resolve(template, data))
    except KeyError:
        items = None
    if items is None:
        missing.append(template)
    for index in range(len(items or ())):
        children = [_with_index(child, flag, str(index)) for child in element]
        repeated.extend([_repeated(child, data, budget, missing) for child in children])
    return repeated


def _with_index(element: Element, flag: str, index: str) -> Element:
    copied = copy.copy(element)
    copied.attrib = {name: value.replace(flag, index) for name, value in element.attrib.items()}
    copied[:] = [_with_index(child, flag, index) for child in element]
    return copied


def attribute(element: Element, name: str) -> str:
    """An element's attribute; Label Studio ignores the case of its name."""
    return element.get(name) or element.get(name.lower()) or ""
