"""``maskbridge demo``: a FiftyOne dataset with instance masks, for a first try."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from maskbridge.adapter import MaskRCNN

DATASET = "maskbridge-demo"
FIELD = "instances"
IMAGES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "horse.png")
"""Images that scikit-image ships, free to use."""
DOWNLOAD_LIMIT = 20.0
"""Seconds that a download of the weights may take before the demo uses the bundled ones."""


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images and results.")] = Path("maskbridge-demo"),
    launch: Annotated[bool, typer.Option("--launch", help="Open the FiftyOne App when done.")] = False,
) -> None:
    """Make the FiftyOne dataset "maskbridge-demo" from a few images, detect objects in them, draw them."""
    _run(out, launch=launch)


def _run(out: Path, *, launch: bool) -> None:
    """Creates the dataset, applies the model, writes annotated images, prints the objects and how to open the App."""
    from rich.console import Console

    from maskbridge.adapter.drawing import draw
    from maskbridge.adapter.errors import MaskbridgeError
    from maskbridge.cli.reports.prediction import describe_counts

    console = Console(highlight=False)
    model = _choose_model(console)
    try:
        os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")  # no warning about mongod 6, which works
        import fiftyone as fo
        import skimage

        from maskbridge.plugin.labels import from_detections
        from maskbridge.plugin.model import MaskRCNNModel
    except ImportError as error:
        raise MaskbridgeError(
            f"the demo needs FiftyOne and scikit-image ({error}): pip install 'maskbridge[fiftyone]' scikit-image"
        ) from error
    source = Path(skimage.__file__).parent / "data"
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in IMAGES:
        shutil.copyfile(source / name, images / name)
    dataset = fo.Dataset(DATASET, overwrite=True, persistent=True)
    dataset.add_samples([fo.Sample(str((images / name).resolve())) for name in IMAGES], progress=False)
    applied = MaskRCNNModel(model, confidence_threshold=0.5)
    dataset.apply_model(applied, label_field=FIELD, batch_size=2, num_workers=0)
    dataset.compute_metadata(progress=False)
    for sample in dataset:
        size = (sample.metadata.height, sample.metadata.width)
        instances = from_detections(sample[FIELD], size, model.class_names)
        path = out / f"{Path(sample.filepath).stem}-annotated.png"
        draw(sample.filepath, instances).save(path)
        console.print(f"  {Path(sample.filepath).name}: {describe_counts(Counter(instances.names))}", markup=False)
    for failure in applied.failures:
        console.print(f"  failed: {failure.path}: {failure.reason}", markup=False)
    console.print(f"Annotated images: {out}", soft_wrap=True)
    console.print(f'The FiftyOne dataset is "{DATASET}", its masks are in the field "{FIELD}". Open the App with')
    console.print(f"  maskbridge demo --launch      or      fiftyone app launch {DATASET}", markup=False)
    if launch:
        fo.launch_app(dataset).wait(-1)


def _choose_model(console: Console) -> MaskRCNN:
    """COCO_V1 if it is on this machine or can be downloaded in `DOWNLOAD_LIMIT` seconds, else bundled; prints which."""
    from maskbridge.adapter import MaskRCNN, WeightsError

    try:
        model = MaskRCNN("COCO_V1", download_limit=DOWNLOAD_LIMIT)
        console.print("Weights: COCO_V1, 80 classes.")
    except WeightsError as error:
        model = MaskRCNN("bundled")
        console.print(f"COCO_V1 is not available: {error}", style="dim", markup=False, soft_wrap=True)
        console.print("Weights: bundled (small). They detect people only, and not all of them.")
    return model
