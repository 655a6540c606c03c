"""``maskbridge quantize``: weights in int8, whose loss is measured and within a limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskbridge.cli import options, places

if TYPE_CHECKING:
    from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset


PLACE = f"A folder of images, {places.LABELS}."
HINT = "allow more with --max-drop, or use images of the kind that you predict for"


def quantize(
    place: Annotated[str, typer.Argument(metavar="PLACE", help=PLACE, show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights file, such as people-int8.safetensors.")],
    images: places.Images = None,
    field: places.LabelField = "ground_truth",
    split: places.Split = None,
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    class_names: options.ClassNames = None,
    norm_eps: options.NormEps = None,
    max_drop: Annotated[float, typer.Option(min=0, max=100, help="Points of AP that may be lost, with labels.")] = 0.5,
    max_images: Annotated[
        int, typer.Option(min=8, help="Images to calibrate with and to measure the loss on, from all over the place.")
    ] = 300,
    labels: Annotated[
        bool, typer.Option(help="Whether to measure by the place's labels; if not, by the agreement with float32.")
    ] = True,
) -> None:
    """Write weights in int8, which are faster on a CPU, if the loss on a place's images is within a limit.

    With labels the limit is --max-drop; without, the masks of float32 and int8 must agree.
    """
    from maskbridge.adapter.errors import MaskbridgeError, WeightsError
    from maskbridge.adapter.optional_dependencies import requires

    with requires("quantize"):
        import nncf  # noqa: F401
        import openvino  # noqa: F401

        from maskbridge.adapter.quantization.quantize import quantize as run
        from maskbridge.adapter.weights.checkpoints import save
        from maskbridge.cli.model import load_model
        from maskbridge.cli.progress import with_named_bar
        from maskbridge.cli.reports.quantization import print_report
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out}: weights are written as .safetensors")
    labeled = _labels(place, images, field, split) if labels else None
    used: LabeledDataset | list[Path]
    skipped: dict[str, str] = {}
    if labeled is None:
        listed = places.find_images(place, images=images)
        used, skipped = [image.path for image in listed.images], dict(listed.skipped)
    else:
        used, skipped = labeled, {image.name: image.reason for image in labeled.skipped_images}
    model = load_model(
        weights, builder=builder, class_names=class_names, norm_eps=norm_eps, device="cpu", precision="float32"
    )
    report = with_named_bar(run(model, used, max_drop=max_drop, max_images=max_images), min(len(used), max_images))
    skipped |= {image.name: image.reason for image in report.skipped_images}
    reasons = {} if labeled is None else labeled.reasons()
    print_report(report, skipped, reasons)
    if report.weights is None:
        raise MaskbridgeError(f"nothing is written: each choice of layers loses more than {report.limit}; {HINT}")
    file = save(out, report.weights)
    print(f"{file}: weights in int8 ({file.stat().st_size / 1e6:.0f} MB); use them with --weights {file}")
    if skipped or reasons:
        raise typer.Exit(options.SKIPPED)


def _labels(place: str, images: Path | None, field: str, split: str | None) -> LabeledDataset | None:
    """The labeled images of a place; None if it has no labels."""
    if not place.startswith((places.FIFTYONE, places.LABEL_STUDIO)) and not place.lower().endswith(".json"):
        return None
    labeled = places.read_labels(place, images=images, label_field=field, split=split)
    return labeled if labeled.objects else None
