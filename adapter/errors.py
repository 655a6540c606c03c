"""The errors that a user can cause. Each message states what is invalid, its value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class MaskbridgeError(Exception):
    """Base of all errors of this package that a user can cause; the command line prints it without a traceback."""


class SettingsError(MaskbridgeError, ValueError):
    """A setting has an invalid name, type or value.

    Attributes:
        problems: a message for each invalid setting, by its name; empty if the error is about more than single values.
    """

    def __init__(self, message: str, *, problems: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.problems = dict(problems or {})


class MissingExtraError(MaskbridgeError, ImportError):
    """A package of an optional extra is not installed; the message has the command that installs it."""


class WeightsError(MaskbridgeError):
    """Weights do not exist, cannot be downloaded or read, or do not fit the network."""


class ImageError(MaskbridgeError, ValueError):
    """An image cannot be read or has an invalid shape, type or range.

    Attributes:
        reason: why the image cannot be used, in one line.
        index: the image's index in the list of images, or None.
        path: the image's path, or None if the image is not a path.
    """

    def __init__(self, reason: str, *, index: int | None = None, path: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.index, self.path = reason, index, path

    def __str__(self) -> str:
        source = [] if self.index is None else [f"image {self.index}"]
        source += [] if self.path is None else [self.path]
        return ": ".join([" ".join(source), self.reason] if source else [self.reason])

    def __reduce__(self) -> tuple[object, ...]:
        # Data-loader workers pickle errors.
        return _image_error, (self.reason, self.index, self.path)


def _image_error(reason: str, index: int | None, path: str | None) -> ImageError:
    return ImageError(reason, index=index, path=path)


def nearest(name: str, allowed: Iterable[str], *, show: int = 12) -> str:
    """A hint for an unknown name: the nearest allowed names, else the first few.

    Example:
        >>> nearest("preson", ["car", "person"])
        "did you mean 'person'?"
        >>> nearest("zebra", ["car", "person"])
        'allowed: car, person'
    """
    names = list(allowed)
    if not names:
        return "there are none"
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(n) for n in close) + "?"
    return "allowed: " + ", ".join(names[:show]) + (", …" if len(names) > show else "")
