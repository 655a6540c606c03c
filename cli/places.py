"""Places: one address for images and their labels, the same in all commands.

An address is a folder, an image file, a ``FILE.json`` (COCO, or an export of a Label Studio project),
``fiftyone:DATASET`` or ``label-studio:PROJECT``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.optional_dependencies import requires

if TYPE_CHECKING:
    import fiftyone as fo

    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset

FIFTYONE = "fiftyone:"
LABEL_STUDIO = "label-studio:"

_LABELS = "FILE.json (COCO, or an export of Label Studio), fiftyone:DATASET or label-studio:PROJECT"
AnyPlace = Annotated[
    list[str],
    typer.Argument(metavar="PLACE…", help=f"Folders, image files, {_LABELS}.", show_default=False),
]
Labels = Annotated[str, typer.Argument(metavar="PLACE", help=f"{_LABELS}.", show_default=False)]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of the images of a FILE.json.  \\[default: images beside it, or its folder]"),
]
Split = Annotated[str | None, typer.Option(help="Only images of this split: COCO's 'split', FiftyOne's tag.")]
LabelField = Annotated[str, typer.Option("--field", help="The field of the FiftyOne dataset that holds the labels.")]


def read_labels(
    place: str, *, images: Path | None = None, label_field: str = "ground_truth", split: str | None = None
) -> LabeledDataset:
    """The labeled images of a place.

    Args:
        place: the address of labels.
        images: the folder of a file's images, if not the one beside it.
        label_field: the field of a FiftyOne dataset.
        split: only images of this split (COCO) or with this tag (FiftyOne).

    Raises:
        MaskbridgeError: the place has no labels, or they cannot be read.
    """
    if place.startswith(FIFTYONE):
        dataset = fiftyone_dataset(place)
        from maskbridge.plugin.datasets import labeled_dataset

        return labeled_dataset(dataset if split is None else dataset.match_tags(split), label_field)
    if place.startswith(LABEL_STUDIO):
        _no_split(split)
        from maskbridge.labelstudio.project import read_project
        from maskbridge.labelstudio.settings import label_studio_settings

        return read_project(project_number(place), label_studio_settings())
    path = Path(place)
    if path.is_dir():
        files = ", ".join(sorted(file.name for file in path.glob("*.json"))) or "it has none"
        raise MaskbridgeError(f"{path}: a folder has no labels; name a .json file in it ({files})")
    if path.suffix.lower() != ".json":
        raise MaskbridgeError(f"{place}: labels are {_LABELS}")
    from maskbridge.adapter.datasets.labeled_dataset import read_json

    contents = read_json(path)
    if isinstance(contents, list):
        _no_split(split)
        with requires("labelstudio"):
            from maskbridge.labelstudio.exports import parse_export
        return parse_export(contents, path, images)
    from maskbridge.adapter.datasets.coco_dataset import parse_coco

    return parse_coco(contents, path, images, split=split)


@dataclass(frozen=True)
class PlaceImages:
    """The images of a place.

    Attributes:
        files: their files; with a name if the path does not name them.
        skipped: why an image cannot be read, by name.
    """

    files: Mapping[Path, str | None]
    skipped: Mapping[str, str] = field(default_factory=dict)


def find_images(place: str, *, images: Path | None = None, out: Path | None = None) -> PlaceImages:
    """The images of a place, with or without labels; folders are searched recursively.

    Args:
        place: any address.
        images: the folder of a file's images, if not the one beside it.
        out: a folder below which a folder's images are ignored.

    Raises:
        MaskbridgeError: there is no such place, or it cannot be read.
    """
    if place.startswith(FIFTYONE):
        return PlaceImages({Path(path): None for path in fiftyone_dataset(place).values("filepath")})
    if place.startswith(LABEL_STUDIO):
        number = project_number(place)
        from maskbridge.labelstudio.project import fetch_images
        from maskbridge.labelstudio.settings import label_studio_settings

        return PlaceImages(*fetch_images(number, label_studio_settings()))
    path = Path(place)
    if path.is_dir():
        from maskbridge.adapter.images import file_endings

        endings = file_endings()
        images_in = (file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
        files = {file: None for file in images_in if out is None or absolute(out) not in absolute(file).parents}
        if not files:
            raise MaskbridgeError(f"no images in {place} (file endings: {', '.join(sorted(endings))})")
        return PlaceImages(files)
    if not (path.exists() or path.is_symlink()):
        raise MaskbridgeError(f"{place}: no such file or folder")
    if path.suffix.lower() != ".json":
        return PlaceImages({path: None})
    labeled = read_labels(place, images=images)
    return PlaceImages({image.image: None for image in labeled if isinstance(image.image, Path)})


def absolute(path: Path) -> Path:
    """The path without ``..``, but not resolving symbolic links: two links to one image are two images."""
    return Path(os.path.abspath(path))  # noqa: PTH100 Path.resolve would follow the links


def fiftyone_dataset(place: str) -> fo.Dataset:
    """The FiftyOne dataset of an address.

    Raises:
        MaskbridgeError: there is no such dataset, or FiftyOne is not installed.
    """
    os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")
    with requires("fiftyone"):
        from maskbridge.plugin.datasets import open_dataset
    return open_dataset(place.removeprefix(FIFTYONE))


def project_number(place: str) -> int:
    """The number of the Label Studio project of an address.

    Raises:
        MaskbridgeError: it is not a number, or what Label Studio needs is not installed.

    Example:
        >>> project_number("label-studio:12")
        12
    """
    with requires("labelstudio"):
        import label_studio_sdk  # noqa: F401
    number = place.removeprefix(LABEL_STUDIO)
    if not (number.isascii() and number.isdigit()):
        raise MaskbridgeError(f"{place}: a Label Studio project is named by its number, as in label-studio:12")
    return int(number)


def _no_split(split: str | None) -> None:
    if split is not None:
        raise MaskbridgeError("Label Studio has no splits: omit --split; part of the images is kept for validation")
