"""The values of image tags: the images that a task shows, and a key for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from maskbridge.labelstudio.label_config import ImageTag


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

    Raises:
        KeyError: the task's data has no field of that name.

    Example:
        >>> image_values(ImageTag("image", "urls", is_list=True), {"urls": ["a.jpg", "b.jpg"]})
        [ImageValue(index=0, value='a.jpg'), ImageValue(index=1, value='b.jpg')]
    """
    value: Any = data
    if image.field in data:
        value = data[image.field]
    else:  # $sample.image
        for part in image.field.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise KeyError(image.field)
            value = value[part]
    if not image.is_list:
        return [ImageValue(None, value)]
    return [ImageValue(*pair) for pair in enumerate(value)] if isinstance(value, list) else [ImageValue(0, value)]


def image_key(value: object, project: int | None) -> str:
    """A key for an image: a hash of its address, and of the project's number unless it is an http(s) or data URL."""
    text = value if isinstance(value, str) else repr(value)
    try:
        is_absolute = urlsplit(text).scheme in ("http", "https")
    except ValueError:
        is_absolute = False
    scope = "" if is_absolute or text[:5].lower() == "data:" else project
    return hashlib.sha256(f"{scope}\n{text}".encode(errors="surrogatepass")).hexdigest()
