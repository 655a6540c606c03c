"""Optional dependencies, installed as extras of the package."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from maskbridge.adapter.errors import MissingExtraError

DISTRIBUTION = "maskbridge"


@contextmanager
def requires(extra: str) -> Iterator[None]:
    """Context for imports of optional packages: if one is missing, the error names the command that installs the extra.

    Raises:
        MissingExtraError: a package cannot be imported.

    Example:
        >>> with requires("train"):  # doctest: +ELLIPSIS
        ...     import no_such_package
        Traceback (most recent call last):
        maskbridge.adapter.errors.MissingExtraError: this needs the package no_such_package: pip install ...
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        name = error.name or str(error)
        if name.startswith("maskbridge"):
            raise
        raise MissingExtraError(f"this needs the package {name}: {install_command(extra)}", name=name) from error


def install_command(extra: str) -> str:
    """The command that installs an extra of this installation.

    It names the folder, file or repository that the package was installed from, never the package's name alone: under
    that name a package index may hold anything. Where the origin is not recorded it names the extra's own packages.
    (Recorded by ``direct_url.json``: https://packaging.python.org/en/latest/specifications/direct-url/)

    Example:
        >>> install_command("train").startswith("pip install ")
        True
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():  # an editable installation, whatever else is recorded of it
        return f"pip install -e {shlex.quote(f'{checkout}[{extra}]')}"
    return _from_origin(metadata.distribution(DISTRIBUTION), extra)


def _from_origin(distribution: metadata.Distribution, extra: str) -> str:
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    if path is not None and path.exists():
        return f"pip install {shlex.quote(f'{path}[{extra}]')}"
    if "vcs_info" in origin:
        address = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
        return f"pip install {shlex.quote(f'{DISTRIBUTION}[{extra}] @ {address}')}"
    lines = (line.partition(";") for line in distribution.requires or ())
    needed = [requirement.strip() for requirement, _, marker in lines if f'extra == "{extra}"' in marker.replace("'", '"')]
    return "pip install " + " ".join(shlex.quote(requirement) for requirement in needed)
