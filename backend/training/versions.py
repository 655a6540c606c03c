"""The trained versions on disk: weights files, and which version each project uses."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.weights.catalog import read_metadata, weights_folder

CHOSEN = "label-studio.json"


@dataclass(frozen=True)
class Version:
    """A trained version: its name with PyTorch in float32, its project's number, its weights file, and its mask mAP."""

    name: str
    project: int
    file: Path
    score: float


def new_file(project: int) -> Path:
    """The path of the weights file for a new training run on a project."""
    return weights_folder() / f"label-studio-{project}-{time.strftime('%Y%m%d-%H%M%S')}.safetensors"


def trained() -> list[Version]:
    """All versions, newest first."""
    versions = []
    for path in sorted(weights_folder().glob("label-studio-*.safetensors"), key=lambda path: path.name, reverse=True):
        if (version := version_of(path)) is not None:
            versions.append(version)
    return versions


def version_of(path: Path) -> Version | None:
    """The version in the metadata of a weights file; None if it was not trained on a project.

    Example:
        >>> from maskbridge.adapter.weights.catalog import BUNDLED_FILE
        >>> version_of(BUNDLED_FILE) is None
        True
    """
    metadata = read_metadata(path)
    try:
        return Version(metadata["model_version"], int(metadata["project"]), path, float(metadata["mask_mAP"]))
    except (KeyError, TypeError, ValueError):
        return None


def chosen() -> dict[int, str]:
    """The version that each project uses, by the project's number, as saved on disk; empty if nothing valid is saved."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        names = json.loads((weights_folder() / CHOSEN).read_text(encoding="utf-8"))
        return {int(project): str(name) for project, name in names.items()}
    return {}


def choose(project: int, name: str) -> None:
    """Saves which version a project uses, for the next start of the server."""
    with atomic_write(weights_folder() / CHOSEN) as file:
        file.write_text(json.dumps(chosen() | {project: name}), encoding="utf-8")


def prune(used: Collection[Path], *, max_versions: int, max_megabytes: int) -> list[Path]:
    """Deletes old versions, except those in use.

    Args:
        used: weights files that are not deleted.
        max_versions: of each project, all but the newest ``max_versions`` are deleted.
        max_megabytes: then the oldest versions of all projects are deleted until their files have at most this size.

    Returns:
        The paths of the deleted files.
    """
    counts: dict[int, int] = {}
    remaining: list[Version] = []
    deleted: list[Path] = []
    for version in trained():
        counts[version.project] = counts.get(version.project, 0) + 1
        if counts[version.project] > max_versions and version.file not in used:
            deleted.append(version.file)
        else:
            remaining.append(version)
    total = sum(version.file.stat().st_size for version in remaining)
    for version in reversed(remaining):
        if total > max_megabytes * 1_000_000 and version.file not in used:
            total -= version.file.stat().st_size
            deleted.append(version.file)
    for file in deleted:
        file.unlink(missing_ok=True)
    return deleted
