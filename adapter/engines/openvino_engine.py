"""OpenVINO's graphs, for CPUs. Needs the extra ``openvino``."""

from __future__ import annotations

import functools
import queue
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maskbridge.adapter.engines.graphs import Graph
from maskbridge.adapter.settings import Precision

# OpenVINO reports each import and conversion to its makers, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino as ov  # noqa: E402


def identity() -> str:
    """OpenVINO's version and the processor's name.

    Example:
        >>> identity().split()[0]
        'openvino'
    """
    return f"openvino {ov.__version__} {_core().get_property('CPU', 'FULL_DEVICE_NAME')}"


def convert(part: nn.Module, example: torch.Tensor) -> ov.Model:
    """Converts a part of a network; all axes of its input but the channels are dynamic.

    Example:
        >>> [str(port.partial_shape) for port in convert(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8)).inputs]
        ['[?,3,?,?]']
    """
    dynamic = [-1, example.shape[1], -1, -1]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: sizes become dynamic
        return ov.convert_model(part, example_input=example, input=ov.PartialShape(dynamic))


def save(converted: ov.Model, folder: Path, name: str) -> None:
    """Writes a converted part into a folder, in float32."""
    ov.save_model(converted, folder / f"{name}.xml", compress_to_fp16=False)


def load(folder: Path, name: str) -> ov.Model:
    """Reads what `save` wrote."""
    return _core().read_model(folder / f"{name}.xml")


def to_bytes(converted: ov.Model) -> tuple[bytes, bytes]:
    """A part as XML and its constants; `from_bytes` is the inverse."""
    with tempfile.TemporaryDirectory() as folder:
        save(converted, Path(folder), "part")
        return Path(folder, "part.xml").read_bytes(), Path(folder, "part.bin").read_bytes()


def from_bytes(xml: bytes, constants: bytes) -> ov.Model:
    """Reads what `to_bytes` returned.

    Raises:
        RuntimeError: it is no part of a network.
    """
    return _core().read_model(model=xml, weights=constants)


def supports(precision: Precision) -> bool:
    """Whether this processor has instructions for a precision.

    Example:
        >>> supports("float32")
        True
    """
    names = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16", "int8": "INT8"}
    return names[precision] in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compiled(converted: ov.Model, streams: int, precision: Precision = "float32") -> Graph:
    """Compiles a part for this CPU, with PyTorch's number of threads for all streams together."""
    config = {
        # Of what is not in int8; without it bfloat16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return graph_of(_core().compile_model(converted, "CPU", config))


def graph_of(compiled_model: ov.CompiledModel) -> Graph:
    """A compiled part as a graph."""
    return _Compiled(compiled_model)


@functools.cache
def _core() -> ov.Core:
    # One for the process, so that the CPU's library stays loaded as long as its threads.
    return ov.Core()


class _Compiled:
    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # a request serves one thread at a time

    def __call__(self, value: np.ndarray) -> Sequence[np.ndarray]:
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._model.create_infer_request()
        # Asynchronously, in a thread of OpenVINO's: in the caller's (`infer`) it keeps a record by the address of each
        # compiled model, and after many were loaded and freed it ends the process (2026.4; SIGSEGV in CPUStreamsExecutor).
        # Shared inputs would leave the request with memory that NumPy frees.
        request.start_async([value], share_inputs=False)
        request.wait()
        outputs = [output.data.copy() for output in request.output_tensors]
        self._idle.put(request)
        return outputs
