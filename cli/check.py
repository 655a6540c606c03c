"""``maskbridge check``: what a place holds, and what of it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from maskbridge.cli import options, places

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset


def check(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="As for predict.", show_default=False)],
    images: places.Images = None,
    field: places.LabelField = "ground_truth",
    split: places.Split = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Read all pixels, not only headers; fetch a Label Studio project's images.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count images, objects and classes, and name everything that training and evaluation would skip."""
    import json

    from maskbridge.adapter.datasets.readable import readable
    from maskbridge.adapter.datasets.summary import summarize
    from maskbridge.cli.progress import with_bar
    from maskbridge.cli.reports.check import print_summary

    if not place.startswith((places.FIFTYONE, places.LABEL_STUDIO)) and not place.lower().endswith(".json"):
        labeled, fetch = _unlabeled(places.find_images(place)), decode  # its headers are read already
    else:
        fetch = decode or not place.startswith(places.LABEL_STUDIO)
        labeled = places.read_labels(place, images=images, label_field=field, split=split, fetch=fetch)
    if fetch:
        labeled = with_bar(readable(labeled, decode=decode), len(labeled))
    summary = summarize(labeled)
    if as_json:
        print(json.dumps(summary.to_dict(), indent=1))
    else:
        print_summary(summary)
    if not summary.complete:
        raise typer.Exit(options.SKIPPED)


def _unlabeled(images: places.PlaceImages) -> LabeledDataset:
    """Images without labels as a labeled dataset, with the sizes that their headers state."""
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, LabeledImage, SkippedImage
    from maskbridge.adapter.errors import ImageError
    from maskbridge.adapter.images import read_size
    from maskbridge.adapter.instances import BACKGROUND

    usable, skipped = [], [SkippedImage(name, reason) for name, reason in images.skipped.items()]
    for image in images.images:
        try:
            usable.append(LabeledImage(image.path, str(image.path), read_size(image.path), (BACKGROUND,), ()))
        except ImageError as error:
            skipped.append(SkippedImage(str(image.path), error.reason))
    return LabeledDataset(tuple(usable), (BACKGROUND,), (), tuple(skipped))
