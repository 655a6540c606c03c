"""The values of tags: texts, variables of the task's data such as ``$pages[0].url``, and texts with variables in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$[\w\[\].{}]+", re.ASCII)
_STEP = re.compile(r"[^.\[\]]+")


def resolve(template: str, data: Mapping[str, Any]) -> Any:
    """What Label Studio's editor shows for a tag's value.

    Args:
        template: a variable (``$image``, ``$images[0]``, ``$page.url``) or a text, which may have variables in it.
        data: the task's.

    Returns:
        For a variable its value, of any type; for a text the text, with its variables replaced.

    Raises:
        KeyError: the task's data has no such variable.

    Example:
        >>> data = {"pages": [{"url": "a.jpg"}], "name": "b.jpg"}
        >>> resolve("$pages[0].url", data), resolve("https://example.org/$name?full=1", data)
        ('a.jpg', 'https://example.org/b.jpg?full=1')
    """
    if template.startswith("$") and (template[1:] in data or _VARIABLE.fullmatch(template)):
        return _get(data, template[1:])
    return _VARIABLE.sub(lambda match: str(_get(data, match.group()[1:])), template)


def is_variable(template: str) -> bool:
    """Whether a tag's value depends on the task's data."""
    return _VARIABLE.search(template) is not None or template.startswith("$")


def as_list(value: Any) -> list[Any] | None:
    """A list, also one that is written as JSON text; None if the value is no list.

    Example:
        >>> as_list('["a.jpg", "b.jpg"]'), as_list("a.jpg")
        (['a.jpg', 'b.jpg'], None)
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _get(data: Mapping[str, Any], path: str) -> Any:
    """A value in nested data, by a path such as ``pages[0].url``; a key that is equal to the path is preferred."""
    if path in data:
        return data[path]
    value: Any = data
    for step in _STEP.findall(path):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise KeyError(f"${path}")
    return value
