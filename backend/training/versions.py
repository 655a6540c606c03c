"""The trained versions on disk: weights files, and which of them each project uses."""

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
    """A trained version: the name that predictions carry, its project's number, its file, and its mask mAP."""

    name: str
    project: int
    file: Path
    score: float


def new_file(project: int) -> Path:
    """Where the weights of a new training of a project go."""
    return weights_folder() / f"label-studio-{project}-{time.strftime('%Y%m%d-%H%M%S')}.safetensors"


def trained() -> list[Version]:
    """All versions, newest first."""
    found = []
    for path in sorted(weights_folder().glob("label-studio-*.safetensors"), key=lambda path: path.name, reverse=True):
        if (version := version_of(path)) is not None:
            found.append(version)
    return found


def version_of(path: Path) -> Version | None:
    """What a weights file says of itself; None where it was not trained from a project."""
    known = read_metadata(path)
    try:
        return Version(known["model_version"], int(known["project"]), path, float(known["mask_mAP"]))
    except (KeyError, TypeError, ValueError):
        return None


def chosen() -> dict[int, str]:
    """The version that each project uses, by its number, as the last swap left it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        kept = json.loads((weights_folder() / CHOSEN).read_text(encoding="utf-8"))
        return {int(project): str(name) for project, name in kept.items()}
    return {}


def choose(project: int, name: str) -> None:
    """Notes which version a project uses, for the next start of the server."""
    with atomic_write(weights_folder() / CHOSEN) as file:
        file.write_text(json.dumps(chosen() | {project: name}), encoding="utf-8")


def prune(used: Collection[str], *, most: int, megabytes: int) -> list[Path]:
    """Deletes old versions: of each project all but the newest ``most``, then the oldest of all until the disk size holds.

    Versions in ``used`` stay. Returns what was deleted.
    """
    counts: dict[int, int] = {}
    kept: list[Version] = []
    gone: list[Path] = []
    for version in trained():
        counts[version.project] = counts.get(version.project, 0) + 1
        if counts[version.project] > most and version.name not in used:
            gone.append(version.file)
        else:
            kept.append(version)
    total = sum(version.file.stat().st_size for version in kept)
    for version in reversed(kept):
        if total > megabytes * 1_000_000 and version.name not in used:
            total -= version.file.stat().st_size
            gone.append(version.file)
    for file in gone:
        file.unlink(missing_ok=True)
    return gone
