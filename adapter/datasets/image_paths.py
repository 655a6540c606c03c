"""The files of the images that an annotation file names, on whatever system and with whatever folders it was written."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImagePath:
    """The file of an image.

    Attributes:
        path: the file.
        name: its path below the folder of the images, with ``/``.
        exact: whether the annotation file names it so; if not, folders of another machine were removed from the name.
    """

    path: Path
    name: str
    exact: bool


def find_file(name: str, folders: Sequence[Path], base: Path) -> ImagePath | None:
    """The file of an image in the first folder that has it; None if none has.

    Args:
        name: a path with ``/`` or ``\\``, relative to a folder or to ``base``, or absolute. Unicode's composed and
            decomposed forms are equal. Of an absolute path of another machine, the last parts are enough.
        folders: where images may be; a file outside of them is never returned.
        base: the folder of the annotation file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a.jpg").write_text("")
        ...     find_file("C:\\\\images\\\\a.jpg", [Path(folder)], Path(folder)).name
        'a.jpg'
    """
    for folder in folders:
        for parts, exact in _candidates(name, folder, base):
            if (path := _existing(folder, parts)) is not None:
                return ImagePath(path, path.relative_to(folder).as_posix(), exact)
    return None


def _candidates(name: str, folder: Path, base: Path) -> Iterator[tuple[list[str], bool]]:
    """Paths below a folder that a name can stand for, and whether the name says exactly that."""
    for text in dict.fromkeys([name, name.replace("\\", "/")]):
        is_absolute = re.match(r"/|[A-Za-z]:/", text) is not None
        for start in [Path("/")] if is_absolute else dict.fromkeys([folder, base]):
            path = os.path.abspath(start / text)  # noqa: PTH100 resolve would follow links
            inside = Path(os.path.relpath(path, os.path.abspath(folder))).parts  # noqa: PTH100
            if inside and inside[0] != os.pardir:
                yield list(inside), True
        parts = [part for part in text.split("/") if part not in ("", os.curdir)]
        if os.pardir in parts:
            continue
        for index in range(len(parts) - 1, 0, -1):
            if parts[index - 1] == folder.absolute().name:
                yield parts[index:], False
        if is_absolute:
            for index in range(1, len(parts)):
                yield parts[index:], False


def _existing(folder: Path, parts: Sequence[str]) -> Path | None:
    """The file of this path, also if its name is stored in another Unicode form; None if there is none."""
    try:
        if (path := folder.joinpath(*parts)).is_file():
            return path
        if all(part.isascii() for part in parts):
            return None
        path = folder
        for part in parts:
            form = unicodedata.normalize("NFC", part)
            path = next(entry for entry in path.iterdir() if unicodedata.normalize("NFC", entry.name) == form)
        return path if path.is_file() else None
    except (OSError, ValueError, StopIteration):  # a name with a null character, a name that is too long, no such folder
        return None
