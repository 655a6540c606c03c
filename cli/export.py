"""``maskbridge export``: weights in, a checked ONNX file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskbridge.cli import options


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The ONNX file.")],
    weights: options.Weights = "DEFAULT",
    builder: options.Builder = None,
    class_names: options.ClassNames = None,
    norm_eps: options.NormEps = None,
    height: Annotated[
        int | None,
        typer.Option(
            help="With --width: images are scaled to fit into this height, a multiple of 32.  \\[default: as the network]"
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="With --height: its width, a multiple of 32.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 1,
    images: Annotated[list[Path] | None, typer.Option(help="Image to check with; can be repeated.")] = None,
) -> None:
    """Write the network as an ONNX file, and check that ONNX Runtime gives the results of PyTorch."""
    from maskbridge.adapter.errors import SettingsError
    from maskbridge.adapter.images import read_size
    from maskbridge.adapter.optional_dependencies import requires

    if (height is None) != (width is None):
        raise SettingsError("--height and --width must be set together or not at all")
    with requires("onnx"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        from maskbridge.adapter.export.onnx_export import check_arguments
        from maskbridge.adapter.export.onnx_export import export as run
        from maskbridge.cli.model import load_model
    size = None if height is None or width is None else (height, width)
    check_arguments(out, input_size=size, batch_size=batch_size)
    for image in images or []:
        read_size(image)
    model = load_model(
        weights, builder=builder, class_names=class_names, norm_eps=norm_eps, device="cpu", precision="float32"
    )
    check = run(model, out, input_size=size, batch_size=batch_size, images=images or [])
    print(
        f"{out}: checked with {check.objects} objects in {check.images} images; ONNX Runtime differs from PyTorch by at "
        f"most {check.boxes:.1g} px, {check.scores:.1g} in scores and {check.masks:.2%} of a mask's pixels"
    )
