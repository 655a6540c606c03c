"""The images that ``maskbridge predict`` reads, and their names in its results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.cli.places import PlaceImage, absolute


@dataclass(frozen=True)
class ImageFile:
    """An image to predict.

    Attributes:
        path: of the file.
        name: unique; the path below the common folder of all images, or the name that its place gives it.
        picture: path of the annotated image, below the folder of the results.
        image_id: the id that its place gives it, None for a number.
    """

    path: Path
    name: str
    picture: str
    image_id: int | str | None = None


def image_files(images: Iterable[PlaceImage]) -> list[ImageFile]:
    """The images of places, sorted, without duplicates.

    Raises:
        MaskbridgeError: there are none.

    Example:
        >>> [image.name for image in image_files([PlaceImage(Path("a/2.jpg")), PlaceImage(Path("a/b/1.jpg"))])]
        ['2.jpg', 'b/1.jpg']
    """
    unique = {(absolute(image.path), image.name, image.image_id): image for image in images}
    if not unique:
        raise MaskbridgeError("these places have no images")
    ordered = sorted(unique, key=lambda key: (key[0], str(key[1]), str(key[2])))
    parents = [path.parent for path, name, _ in ordered if name is None]
    root = os.path.commonpath(parents) if parents else ""
    names = [name or path.relative_to(root).as_posix() for path, name, _ in ordered]
    repeated = Counter(names)
    # A COCO file may have one image twice: the id tells them apart.
    names = [name if repeated[name] == 1 else f"{name}#{image_id}" for name, (_, _, image_id) in zip(names, ordered)]
    stems = Counter(_stem(name) for name in names)
    # Two images that differ only in their endings keep them, or one annotated image would overwrite the other.
    pictures = [(name if stems[_stem(name)] > 1 else str(Path(name).with_suffix(""))) + ".png" for name in names]
    return [
        ImageFile(path, name, picture, image_id) for (path, _, image_id), name, picture in zip(ordered, names, pictures)
    ]


def _stem(name: str) -> str:
    return str(Path(name).with_suffix("")).lower()
