"""The engine that a person chooses by name."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any, get_args

import torch

from maskbridge.adapter.engines.devices import checked_precision
from maskbridge.adapter.engines.torch_engine import TorchEngine
from maskbridge.adapter.errors import SettingsError, nearest
from maskbridge.adapter.optional_dependencies import requires
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.torchvision_types import Network

log = logging.getLogger(__name__)

_RUNTIMES = {"openvino": ("openvino_engine", "openvino"), "onnxruntime": ("onnx_engine", "onnx")}
"""The module and the extra of each engine but PyTorch."""


def checked_engine(engine: EngineName, device: torch.device, precision: Precision) -> EngineName:
    """The engine that is used: ``auto`` is OpenVINO on a CPU in float32 if it is installed, else PyTorch.

    Raises:
        SettingsError: the engine is unknown, or does not support the device or the precision.
        MissingExtraError: its packages are not installed; the message has the command that installs them.

    Example:
        >>> checked_engine("torch", torch.device("cpu"), "float32")
        'torch'
    """
    if engine not in get_args(EngineName):
        raise SettingsError(f"unknown engine {engine!r}: {nearest(str(engine), get_args(EngineName))}")
    if engine == "auto":
        possible = device.type == "cpu" and precision == "float32" and _has_openvino()
        engine = "openvino" if possible else "torch"
    if engine == "torch":
        checked_precision(precision, device)
        return engine
    if device.type != "cpu":
        raise SettingsError(f"engine {engine!r} runs on a CPU, not on {device}: use engine='torch' or device='cpu'")
    if precision != "float32":
        raise SettingsError(f"precision with engine {engine!r} is float32, not {precision!r}")
    _runtime(engine)
    return engine


def make_engine(
    engine: EngineName,
    network: Network,
    precision: Precision,
    streams: int,
    *,
    fingerprint: Callable[[], str] | None,
    progress: bool,
) -> TorchEngine:
    """Makes the engine of a network.

    Args:
        engine: from `checked_engine`.
        network: the network, on its device.
        precision: of the arithmetic.
        streams: how many images are predicted at once.
        fingerprint: of the network's weights, for the cache of converted networks; None for no cache.
        progress: whether to print that the network is converted; it is logged anyway.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> network = MaskRCNN("bundled", device="cpu").network
        >>> make_engine("torch", network, "float32", 1, fingerprint=None, progress=False).name
        'torch'
    """
    if engine == "torch":
        device = next(network.parameters()).device
        if device.type == "cpu" and precision == "float32" and _has_openvino():
            _mention_openvino()
        return TorchEngine(network, precision, checked_precision(precision, device))
    from maskbridge.adapter.engines import cache as converted_networks
    from maskbridge.adapter.engines.graphs import GraphEngine, parts_of

    runtime, parts = _runtime(engine), parts_of(network)
    folder = None
    if fingerprint is not None:
        folder = converted_networks.entry_folder(runtime.identity(), fingerprint())
    converted = None if folder is None else converted_networks.read(folder, runtime, list(parts))
    if converted is None:
        _report(f"converting the network for {engine}; this is done once on a machine", progress)
        start = time.monotonic()
        converted = {name: runtime.convert(*part) for name, part in parts.items()}
        if folder is not None:
            converted_networks.write(folder, runtime, converted)
        _report(f"converted in {time.monotonic() - start:.1f} s", progress)
    graphs = {name: runtime.compiled(part, streams) for name, part in converted.items()}
    return GraphEngine(network, engine, precision, graphs)


def _runtime(engine: str) -> Any:
    module, extra = _RUNTIMES[engine]
    with requires(extra):
        return importlib.import_module(f"maskbridge.adapter.engines.{module}")


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


@cache
def _mention_openvino() -> None:
    log.info("OpenVINO is installed: engine='auto' uses it, 1.1 to 1.3 times as fast (docs/engines.md)")


def _report(message: str, progress: bool) -> None:
    log.info(message)
    if progress:
        from rich.console import Console

        Console(stderr=True).print(message, highlight=False)
