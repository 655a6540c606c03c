"""Optional dependencies, installed as extras of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from maskbridge.adapter.errors import MaskbridgeError


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Context for imports of optional packages: if one is missing, the error names the extra to install.

    Raises:
        MaskbridgeError: a package cannot be imported.

    Example:
        >>> with requires("train"):
        ...     import no_such_package
        Traceback (most recent call last):
        maskbridge.adapter.errors.MaskbridgeError: this needs the package no_such_package: pip install 'maskbridge[train]'
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("maskbridge"):
            raise
        raise MaskbridgeError(f"this needs the package {error.name}: pip install 'maskbridge[{extra}]'") from error
