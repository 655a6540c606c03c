"""The images that ``maskbridge predict`` reads, and their names in its results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.cli.places import PlaceImages, absolute


@dataclass(frozen=True)
class ImageFile:
    """An image to predict.

    Attributes:
        path: of the file.
        name: unique; the path below the common folder of all images, or the name of a task.
        picture: path of the annotated image, below the folder of the results.

    Example:
        >>> ImageFile(Path("000000397133.jpg"), "000000397133.jpg", "000000397133.png").image_id
        397133
    """

    path: Path
    name: str
    picture: str

    @property
    def image_id(self) -> int | str:
        """The number that names the file, as in COCO (``000000397133.jpg``), else ``picture`` without its ending."""
        stem = self.picture.removesuffix(".png")
        return int(stem) if stem.isascii() and stem.isdigit() else stem


def image_files(places: Iterable[PlaceImages]) -> list[ImageFile]:
    """The images of places, sorted, without duplicates.

    Raises:
        MaskbridgeError: there are none.
    """
    unique: dict[Path, str | None] = {}
    for place in places:
        unique.update((absolute(path), name) for path, name in place.files.items())
    files = dict(sorted(unique.items()))
    if not files:
        raise MaskbridgeError("these places have no images")
    names = _names(files)
    stems = Counter(_stem(name) for name in names)
    # Two images that differ only in their endings keep them, or one annotated image would overwrite the other.
    pictures = [(name if stems[_stem(name)] > 1 else str(Path(name).with_suffix(""))) + ".png" for name in names]
    return [ImageFile(*parts) for parts in zip(files, names, pictures)]


def _names(files: Mapping[Path, str | None]) -> list[str]:
    parents = [path.parent for path, name in files.items() if name is None]
    root = os.path.commonpath(parents) if parents else ""
    return [path.relative_to(root).as_posix() if name is None else name for path, name in files.items()]


def _stem(name: str) -> str:
    return str(Path(name).with_suffix("")).lower()
