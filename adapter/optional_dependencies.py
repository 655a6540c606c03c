"""Parts that are installed on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from maskbridge.adapter.errors import MaskbridgeError


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Around imports: the error names the extra to install if a package is missing.

    Raises:
        MaskbridgeError: an import failed.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("maskbridge"):
            raise
        raise MaskbridgeError(f"this needs the package {error.name}: pip install 'maskbridge[{extra}]'") from error
