"""The engine, device and precision that a person chooses by name."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import torch

from maskbridge.adapter.engines.devices import checked_device, checked_precision
from maskbridge.adapter.engines.torch_engine import TorchEngine
from maskbridge.adapter.errors import SettingsError, WeightsError, nearest
from maskbridge.adapter.optional_dependencies import requires
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.torchvision_types import Network
from maskbridge.adapter.weights.quantized import Quantized

log = logging.getLogger(__name__)

_RUNTIMES = {"openvino": ("openvino_engine", "openvino"), "onnxruntime": ("onnx_engine", "onnx")}
"""The module and the extra of each engine but PyTorch."""


@dataclass(frozen=True)
class Choice:
    """What runs a network's layers, on what, and how precisely."""

    engine: EngineName
    device: torch.device
    precision: Precision


def choose(
    engine: EngineName, device: str | torch.device | None, precision: Precision, *, quantized: bool | None = None
) -> Choice:
    """The engine, device and precision that are used.

    Args:
        engine: ``auto`` is OpenVINO on a CPU in float32 if it is installed, else PyTorch.
        device: None for a GPU if one is available, else the CPU.
        precision: ``auto`` is int8 for quantized weights, else float32. In int8 the engine is OpenVINO, on the CPU.
        quantized: whether the weights have layers in int8; None if that is not known yet.

    Raises:
        SettingsError: a name is unknown, or the engine does not support the device or the precision.
        MissingExtraError: its packages are not installed; the message has the command that installs them.

    Example:
        >>> choose("torch", "cpu", "auto")
        Choice(engine='torch', device=device(type='cpu'), precision='float32')
    """
    for name, value, allowed in (("engine", engine, EngineName), ("precision", precision, Precision)):
        if value not in get_args(allowed):
            raise SettingsError(f"unknown {name} {value!r}: {nearest(str(value), get_args(allowed))}")
    if precision == "auto":
        precision = "int8" if quantized else "float32"
    if precision == "int8":
        return _choose_int8(engine, device, quantized)
    on = checked_device(device)
    if engine == "auto":
        engine = "openvino" if on.type == "cpu" and precision == "float32" and _has_openvino() else "torch"
    if engine == "torch":
        checked_precision(precision, on)
        return Choice(engine, on, precision)
    if on.type != "cpu":
        raise SettingsError(f"engine {engine!r} runs on a CPU, not on {on}: use engine='torch' or device='cpu'")
    if precision != "float32" and not (engine == "openvino" and precision == "bfloat16"):
        also = " or bfloat16" if engine == "openvino" else ""
        raise SettingsError(f"precision with engine {engine!r} is float32{also}, not {precision!r}")
    if not _runtime(engine).supports(precision):
        raise SettingsError(
            f"this processor has no instructions for {precision} (AMX or AVX512_BF16): it would be slower than float32"
        )
    return Choice(engine, on, precision)


def _choose_int8(engine: EngineName, device: str | torch.device | None, quantized: bool | None) -> Choice:
    if quantized is False:
        raise SettingsError("precision 'int8' is for weights that `maskbridge quantize` wrote")
    on = checked_device("cpu" if device is None else device)
    hint = "precision='float32' uses the float32 values of these weights"
    if engine == "onnxruntime" or on.type != "cpu":
        raise SettingsError(f"int8 runs with engine 'openvino' on a CPU, not with {engine!r} on {on}; {hint}")
    if not _runtime("openvino").supports("int8"):
        raise SettingsError(f"this processor has no instructions for int8; {hint}")
    return Choice("openvino", on, "int8")


def make_engine(
    choice: Choice,
    network: Network,
    streams: int,
    *,
    quantized: Quantized | None = None,
    fingerprint: Callable[[], str] | None = None,
    progress: bool = False,
) -> TorchEngine:
    """Makes the engine of a network.

    Args:
        choice: from `choose`.
        network: the network, on its device.
        streams: how many images are predicted at once.
        quantized: the network's layers in int8, for that precision.
        fingerprint: of the network's weights, for the cache of converted networks; None for no cache.
        progress: whether to print that the network is converted; it is logged anyway.

    Raises:
        WeightsError: the layers in int8 cannot be read.

    Example:
        >>> from maskbridge.adapter import MaskRCNN
        >>> network = MaskRCNN("bundled", device="cpu").network
        >>> make_engine(choose("torch", "cpu", "float32"), network, 1).name
        'torch'
    """
    engine, precision = choice.engine, choice.precision
    if engine == "torch":
        if choice.device.type == "cpu" and precision == "float32" and _has_openvino():
            _mention_openvino()
        return TorchEngine(network, precision, checked_precision(precision, choice.device))
    from maskbridge.adapter.engines.graphs import GraphEngine

    runtime = _runtime(engine)
    if precision == "int8" and quantized is not None:
        graphs = _int8_graphs(runtime, network, quantized, streams)
    else:
        parts = _float_parts(engine, runtime, network, fingerprint, progress)
        graphs = {name: runtime.compiled(part, streams, precision) for name, part in parts.items()}
    return GraphEngine(network, engine, precision, graphs)


def _int8_graphs(runtime: Any, network: Network, quantized: Quantized, streams: int) -> dict[str, Any]:
    from maskbridge.adapter.engines.graphs import parts_of

    result = {}
    for name, (part, example) in parts_of(network).items():
        try:
            result[name] = runtime.compiled(runtime.from_bytes(*quantized.graphs[name]), streams, "int8")
            outputs = result[name](example[..., :64, :64].numpy())
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"the layers in int8 cannot be read by {runtime.identity()} ({name}: {reason})") from error
        with torch.inference_mode():
            expected = part(example[..., :64, :64])
        expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
        if [output.shape for output in outputs] != [tuple(output.shape) for output in expected]:
            raise WeightsError(
                f"the layers in int8 are those of another network: the outputs of its {name} have other shapes"
            )
    return result


def _float_parts(
    engine: EngineName, runtime: Any, network: Network, fingerprint: Callable[[], str] | None, progress: bool
) -> dict[str, Any]:
    from maskbridge.adapter.engines import cache as converted_networks
    from maskbridge.adapter.engines.graphs import parts_of

    parts, folder = parts_of(network), None
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
    return converted


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
