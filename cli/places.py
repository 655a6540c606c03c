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

LABELS = "FILE.json (COCO, or an export of Label Studio), fiftyone:DATASET or label-studio:PROJECT"
AnyPlace = Annotated[
    list[str],
    typer.Argument(metavar="PLACE…", help=f"Folders, image files, {LABELS}.", show_default=False),
]
Labels = Annotated[str, typer.Argument(metavar="PLACE", help=f"{LABELS}.", show_default=False)]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder of the images of a FILE.json.  \\[default: its folder, then images and data in it]"),
]
Split = Annotated[str | None, typer.Option(help="Only images of this split: COCO's 'split', FiftyOne's tag.")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Stop at an image that is missing, unreadable or of another size, do not skip it."),
]
LabelField = Annotated[str, typer.Option("--field", help="The field of the FiftyOne dataset that holds the labels.")]


def read_labels(
    place: str,
    *,
    images: Path | None = None,
    label_field: str = "ground_truth",
    split: str | None = None,
    fetch: bool = True,
) -> LabeledDataset:
    """The labeled images of a place.

    Args:
        place: the address of labels.
        images: the folder of a file's images, if not the one beside it.
        label_field: the field of a FiftyOne dataset.
        split: only images of this split (COCO) or with this tag (FiftyOne).
        fetch: whether the images of a Label Studio project are fetched; if not, their sizes are those that regions state.

    Raises:
        MaskbridgeError: the place has no labels, or they cannot be read.
    """
    if place.startswith(FIFTYONE):
        dataset = fiftyone_dataset(place)
        from maskbridge.plugin.datasets import labeled_dataset

        return labeled_dataset(dataset if split is None else dataset.match_tags(split), label_field)
    if place.startswith(LABEL_STUDIO):
        _no_split(split)
        number = project_number(place)
        from maskbridge.labelstudio.project import read_project
        from maskbridge.labelstudio.settings import label_studio_settings

        return read_project(number, label_studio_settings(), fetch=fetch)
    path = Path(place)
    if path.is_dir():
        files = ", ".join(sorted(file.name for file in path.glob("*.json"))) or "it has none"
        raise MaskbridgeError(f"{path}: a folder has no labels; name a .json file in it ({files})")
    if path.suffix.lower() != ".json":
        raise MaskbridgeError(f"{place}: labels are {LABELS}")
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
class PlaceImage:
    """An image of a place.

    Attributes:
        path: its file.
        name: for results, if the path does not give it.
        image_id: its id in a COCO file.
    """

    path: Path
    name: str | None = None
    image_id: int | str | None = None


@dataclass(frozen=True)
class PlaceImages:
    """The images of a place.

    Attributes:
        images: those that have a file.
        skipped: why an image cannot be read, by name.
        categories: the category id of each class name in a COCO file, else None.
    """

    images: tuple[PlaceImage, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, int | str] | None = None


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
        return PlaceImages(tuple(PlaceImage(Path(path)) for path in fiftyone_dataset(place).values("filepath")))
    if place.startswith(LABEL_STUDIO):
        number = project_number(place)
        from maskbridge.labelstudio.project import fetch_images
        from maskbridge.labelstudio.settings import label_studio_settings

        fetched = fetch_images(number, label_studio_settings())
        return PlaceImages(tuple(PlaceImage(path, name) for name, path in fetched.files.items()), fetched.failures)
    path = Path(place)
    if path.is_dir():
        return _images_below(path, out)
    if not (path.exists() or path.is_symlink()):
        raise MaskbridgeError(f"{place}: no such file or folder")
    return PlaceImages((PlaceImage(path),)) if path.suffix.lower() != ".json" else _images_of_file(path, images)


def _images_of_file(path: Path, folder: Path | None) -> PlaceImages:
    """The images of a COCO file, with their ids, or of an export of Label Studio."""
    from maskbridge.adapter.datasets.coco_file import parse_coco_file
    from maskbridge.adapter.datasets.labeled_dataset import read_json

    contents = read_json(path)
    if isinstance(contents, list):
        labeled = read_labels(str(path), images=folder)
        tasks = tuple(PlaceImage(image.image, image.name) for image in labeled if isinstance(image.image, Path))
        return PlaceImages(tasks, {image.name: image.reason for image in labeled.skipped_images})
    file = parse_coco_file(contents, path, folder)
    return PlaceImages(
        tuple(PlaceImage(image.path, image.name, image.id) for image in file.images),
        {image.name: image.reason for image in file.skipped_images},
        {category.name: category.id for category in reversed(list(file.categories.values()))},  # the first of a name
    )


def _images_below(folder: Path, out: Path | None) -> PlaceImages:
    """The images in a folder and its subfolders, by their endings; macOS's ``._`` files are not images."""
    from maskbridge.adapter.images import HEIF_ENDINGS, file_endings, missing_format

    endings = file_endings()
    files: list[PlaceImage] = []
    skipped: dict[str, str] = {}
    for file in folder.rglob("*"):
        is_image = file.suffix.lower() in endings | HEIF_ENDINGS and not file.name.startswith("._") and file.is_file()
        if not is_image or (out is not None and absolute(out) in absolute(file).parents):
            continue
        if (missing := missing_format(file)) is None:
            files.append(PlaceImage(file))
        else:
            skipped[file.relative_to(folder).as_posix()] = missing
    if not files and not skipped:
        raise MaskbridgeError(f"no images in {folder} (file endings: {', '.join(sorted(endings))})")
    return PlaceImages(tuple(files), skipped)


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
        import maskbridge.labelstudio.project  # noqa: F401
    number = place.removeprefix(LABEL_STUDIO)
    if not (number.isascii() and number.isdigit()):
        raise MaskbridgeError(f"{place}: a Label Studio project is named by its number, as in label-studio:12")
    return int(number)


def _no_split(split: str | None) -> None:
    if split is not None:
        raise MaskbridgeError("Label Studio has no splits: omit --split; part of the images is kept for validation")
