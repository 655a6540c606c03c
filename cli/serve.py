"""``maskbridge serve``: the Label Studio backend."""

from __future__ import annotations

from typing import Annotated

import typer

from maskbridge.cli import options


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all.  \\[default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  \\[default: 9090]")] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="bundled, COCO_V1, a file of safetensors or torch, or https://…#sha256=…  \\[default: DEFAULT]"),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(metavar="A,B|FILE", help="Names of the weights' classes, or a file of them, if they have none."),
    ] = None,
    norm_eps: options.NormEps = None,
    confidence: Annotated[
        str | None,
        typer.Option(
            help="Objects with a score above it are detected; or one for each class: person=0.6,dog=0.4.  \\[default: 0.5]"
        ),
    ] = None,
    mask_threshold: Annotated[
        float | None, typer.Option(help="Pixels of at least this probability are in a mask.  \\[default: 0.5]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; by default a GPU if there is one.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, float32, bfloat16, float16 or int8 (docs/engines.md).  \\[default: auto]"),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What runs the network's layers: torch, openvino, onnxruntime or auto.  \\[default: torch]"),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(help="Images predicted at once on a CPU.  \\[default: a quarter of its threads, 2 to 4]"),
    ] = None,
    label_studio_url: Annotated[
        str | None,
        typer.Option(help="Label Studio's address, as seen from this machine.  \\[default: http://localhost:8080]"),
    ] = None,
    allowed_hosts: Annotated[
        str | None, typer.Option(help="Hosts and networks with private addresses that images may be fetched from.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Lowest level of log messages: debug, info, warning or error.  \\[default: info]")
    ] = None,
) -> None:
    """Start the Label Studio backend.

    All settings can also be set in the environment: MASKBRIDGE_PORT, MASKBRIDGE_CONFIDENCE, and so on; Label Studio's
    token only there, as MASKBRIDGE_LABEL_STUDIO_TOKEN. docs/label-studio.md lists all of them.
    """
    from maskbridge.adapter.optional_dependencies import requires

    with requires("labelstudio"):
        from maskbridge.backend.settings import server_settings
        from maskbridge.backend.web.serving import serve as run
    run(
        server_settings(
            host=host,
            port=port,
            weights=weights,
            class_names=class_names,
            norm_eps=norm_eps,
            confidence=confidence,
            mask_threshold=mask_threshold,
            device=device,
            precision=precision,
            engine=engine,
            streams=streams,
            label_studio_url=label_studio_url,
            allowed_hosts=allowed_hosts,
            log_level=log_level,
        )
    )
