"""``maskbridge demo``: a FiftyOne dataset with instance masks, for a first try."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from maskbridge.adapter import Instances, MaskRCNN

DATASET = "maskbridge-demo"
FIELD = "instances"
CONFIDENCE = 0.5
IMAGES = Path(__file__).parent / "demo_images"
"""Photographs that are free to share, with their addresses and licenses in ``CREDITS.txt``."""
CONTACT_SHEET = "contact-sheet.png"
DOWNLOAD_LIMIT = 20.0
"""Seconds that a download of the weights may take before the demo uses the bundled ones."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images and results.")] = Path("maskbridge-demo"),
    launch: Annotated[bool, typer.Option("--launch", help="Open the FiftyOne App when done.")] = False,
) -> None:
    """Make the FiftyOne dataset "maskbridge-demo" from six images, detect objects in them, draw them."""
    from rich.console import Console
    from rich.table import Table

    from maskbridge.adapter.optional_dependencies import requires
    from maskbridge.cli.reports.prediction import describe_counts

    os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")  # no warning about mongod 6, which works
    with requires("fiftyone"):
        import fiftyone as fo

        from maskbridge.plugin.model import MaskRCNNModel
    console = Console(highlight=False)
    model = _choose_model(console)
    paths = _copy_images(out)
    dataset = fo.Dataset(DATASET, overwrite=True, persistent=True)
    dataset.add_samples([fo.Sample(str(path)) for path in paths], progress=False)
    applied = MaskRCNNModel(model, confidence_threshold=CONFIDENCE)
    dataset.apply_model(applied, label_field=FIELD, batch_size=2, num_workers=0)
    table = Table("image", "objects", "highest score")
    for path, instances in _draw(dataset, model, out).items():
        scores = [] if instances.scores is None else instances.scores.tolist()
        table.add_row(path.name, describe_counts(Counter(instances.names)), f"{max(scores):.2f}" if scores else "")
    console.print(table)
    for failure in applied.failures:
        console.print(f"failed: {failure.path}: {failure.reason}", markup=False, soft_wrap=True)
    console.print(f"Annotated images: {out}, all six in {out / CONTACT_SHEET}", markup=False, soft_wrap=True)
    console.print(f'FiftyOne dataset: "{DATASET}", with the masks in its field "{FIELD}"', markup=False, soft_wrap=True)
    console.print("\nWhat to do next:")
    for text, command in _next_steps(out, model):
        console.print(f"  {text:<28} {command}", markup=False, soft_wrap=True)
    if launch:
        fo.launch_app(dataset).wait(-1)


def _choose_model(console: Console) -> MaskRCNN:
    """COCO_V1 if it is on this machine or can be downloaded in `DOWNLOAD_LIMIT` seconds, else bundled; prints which."""
    from maskbridge.adapter import MaskRCNN, WeightsError
    from maskbridge.adapter.weights.catalog import DOWNLOADS, cached_file

    file, size = DOWNLOADS["MaskRCNN_ResNet50_FPN_Weights.COCO_V1"]
    local = cached_file(file) is not None
    if not local:
        text = f"Downloading COCO's weights (80 classes, {size / 1e6:.0f} MB), for at most {DOWNLOAD_LIMIT:.0f} seconds …"
        console.print(text, soft_wrap=True)
    try:
        model = MaskRCNN("COCO_V1", download_limit=DOWNLOAD_LIMIT)
        console.print("Weights: COCO_V1, torchvision's, with 80 classes.")
    except WeightsError as error:
        model = MaskRCNN("bundled")
        reason = f"COCO's weights cannot be used: {error}." if local else "Not available."
        text = f"{reason} Weights: bundled, a small network that detects people only, and not all of them."
        console.print(text, markup=False, soft_wrap=True)
    return model


def _copy_images(out: Path) -> list[Path]:
    folder = out.resolve() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for file in IMAGES.iterdir():
        shutil.copyfile(file, folder / file.name)
    return sorted(folder / file.name for file in IMAGES.glob("*.jpg"))


def _draw(dataset: object, model: MaskRCNN, out: Path) -> dict[Path, Instances]:
    """Writes the annotated images and the contact sheet; returns the instances by the image's path."""
    import PIL.Image

    from maskbridge.adapter.drawing import draw
    from maskbridge.cli.reports.contact_sheet import contact_sheet
    from maskbridge.plugin.labels import from_detections

    instances: dict[Path, Instances] = {}
    pictures = []
    for sample in dataset:  # type: ignore[attr-defined]
        path = Path(sample.filepath)
        with PIL.Image.open(path) as image:
            size = (image.height, image.width)
        instances[path] = from_detections(sample[FIELD], size, model.class_names)
        pictures.append(draw(path, instances[path]))
        pictures[-1].save(out / f"{path.stem}-annotated.png")
    contact_sheet(pictures, columns=3).save(out / CONTACT_SHEET)
    return instances


def _next_steps(out: Path, model: MaskRCNN) -> list[tuple[str, str]]:
    """What to try next, as commands to paste into the shell that the demo ran in."""
    run = "uv run " if "UV" in os.environ else ""  # set by `uv run`
    images = shlex.quote(str(out / "images"))
    weights = shlex.quote(model.weights_name)
    return [
        ("open the App:", f"{run}fiftyone app launch {DATASET}"),
        ("detect in a folder of yours:", f"{run}maskbridge predict {images} -o results --weights {weights}"),
        ("start the backend:", f"{run}maskbridge serve --weights {weights}"),
    ]
