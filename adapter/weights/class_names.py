"""Class names as people pass them on a command line or in a setting."""

from __future__ import annotations

import os
from pathlib import Path

from maskbridge.adapter.errors import SettingsError


def parse_class_names(text: str | None) -> list[str] | None:
    """``"cat,dog"``, or the lines of a text file of this name, as a list; None stays None.

    Raises:
        SettingsError: the file cannot be read as text.

    Example:
        >>> parse_class_names("cat, dog")
        ['cat', 'dog']
    """
    if text is None:
        return None
    parts = text.split(",")
    if os.path.isfile(text):  # noqa: PTH113 Path.is_file raises on a list that is longer than a file's name
        try:
            parts = Path(text).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{text}: cannot be read as a list of class names ({error})") from None
    return [part.strip() for part in parts if part.strip()]
