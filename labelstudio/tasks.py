"""The values of image tags: the images that a task shows, and a key for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from maskbridge.labelstudio.label_config import ImageTag
from maskbridge.labelstudio.variables import as_list, resolve


@dataclass(frozen=True)
class ImageValue:
    """An image of a task.

    Attributes:
        index: its index in the list that the tag shows; None if the tag shows one image.
        value: its value in the task's data: an address.
    """

    index: int | None
    value: object


def image_values(image: ImageTag, data: Mapping[str, Any]) -> list[ImageValue]:
    """The images that a task shows in an image tag.

    A tag with ``value`` shows one image: the first if the value is a list.

    Raises:
        KeyError: the task's data has no such variable.

    Example:
        >>> image_values(ImageTag("image", "$urls", is_list=True), {"urls": ["a.jpg", "b.jpg"]})
        [ImageValue(index=0, value='a.jpg'), ImageValue(index=1, value='b.jpg')]
    """
    value = resolve(image.value, data)
    values = as_list(value)
    if image.is_list:
        return [ImageValue(*pair) for pair in enumerate([value] if values is None else values)]
    return [ImageValue(None, values[0] if values else value)]


def image_key(value: object, project: int | None) -> str:
    """A key for an image: a hash of its address, and of the project's number unless it is an http(s) or data URL."""
    text = value if isinstance(value, str) else repr(value)
    try:
        is_absolute = urlsplit(text).scheme in ("http", "https")
    except ValueError:
        is_absolute = False
    scope = "" if is_absolute or text[:5].lower() == "data:" else project
    return hashlib.sha256(f"{scope}\n{text}".encode(errors="surrogatepass")).hexdigest()
