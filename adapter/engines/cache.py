"""Converted networks on disk, below ``MASKBRIDGE_HOME``: each is converted once on a machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from maskbridge.adapter.engines.graphs import Graph
from maskbridge.adapter.settings import Precision
from maskbridge.adapter.weights.catalog import weights_folder
from maskbridge.adapter.weights.download import sha256

log = logging.getLogger(__name__)

MAX_ENTRIES = 8
"""Converted networks that are kept, the last used ones."""
_CHECKSUMS = "checksums.json"
_ABANDONED = 24 * 3600
"""Seconds after which an unfinished folder belongs to no process any more."""


class Runtime(Protocol):
    """A library that runs graphs: `openvino_engine` or `onnx_engine`."""

    def identity(self) -> str:
        """The library's version and the processor, which converted networks are for."""

    def convert(self, part: nn.Module, example: torch.Tensor) -> Any:
        """Converts a part of a network."""

    def save(self, converted: Any, folder: Path, name: str) -> None:
        """Writes a converted part into a folder."""

    def load(self, folder: Path, name: str) -> Any:
        """Reads what `save` wrote."""

    def compiled(self, converted: Any, streams: int, precision: Precision) -> Graph:
        """Compiles a converted part for this machine, to be run by that many threads at once."""


def engines_folder() -> Path:
    """Where converted networks live, beside `weights_folder`."""
    return weights_folder().parent / "engines"


def entry_folder(identity: str, fingerprint: str) -> Path:
    """The folder of a converted network.

    Example:
        >>> entry_folder("openvino 2026.4 Some CPU", "8abe57d886f2").name[:22]
        'openvino-8abe57d886f2-'
    """
    digest = hashlib.sha256(f"{identity} torch {torch.__version__}".encode()).hexdigest()[:12]
    return engines_folder() / f"{identity.split()[0]}-{fingerprint}-{digest}"


def read(folder: Path, runtime: Runtime, names: list[str]) -> dict[str, Any] | None:
    """The converted parts in a folder; None if there are none. A damaged folder is deleted, and this is logged."""
    if not folder.is_dir():
        return None
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_text())
        damaged = [name for name, checksum in checksums.items() if sha256(folder / name) != checksum]
        if damaged:
            raise ValueError(f"{damaged[0]} has changed")
        converted = {name: runtime.load(folder, name) for name in names}
        os.utime(folder)
    except (OSError, ValueError, AttributeError, RuntimeError) as error:
        log.warning("%s is damaged (%s): the network is converted again", folder, str(error).splitlines()[0])
        _delete(folder)
        return None
    return converted


def write(folder: Path, runtime: Runtime, converted: Mapping[str, Any]) -> None:
    """Writes converted parts atomically. If the disk is full or cannot be written to, this is logged.

    If another process was faster, its folder stays.
    """
    temporary = folder.with_name(f".{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        for name, part in converted.items():
            runtime.save(part, temporary, name)
        files = sorted(temporary.iterdir())
        (temporary / _CHECKSUMS).write_text(json.dumps({file.name: sha256(file) for file in files}))
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        _delete_unused(folder.parent)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        log.warning("%s: the converted network cannot be kept; is the disk full? (%s)", folder.parent, reason)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _delete(folder: Path) -> None:
    removed = folder.with_name(f".{uuid.uuid4().hex[:8]}")
    try:
        folder.rename(removed)  # at once, also while another process reads it
    except OSError:
        return
    shutil.rmtree(removed, ignore_errors=True)


def _delete_unused(parent: Path) -> None:
    folders = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for entry in [path for path in folders if not path.name.startswith(".")][MAX_ENTRIES:]:
        _delete(entry)
    for left in folders:  # by a process that was killed
        if left.name.startswith(".") and left.stat().st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
