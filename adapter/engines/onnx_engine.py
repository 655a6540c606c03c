"""ONNX Runtime's graphs, for CPUs. Needs the extra ``onnx``."""

from __future__ import annotations

import io
import platform
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx  # noqa: F401  the exporter needs it
import onnxruntime
import torch
from torch import nn

from maskbridge.adapter.engines.graphs import Graph
from maskbridge.adapter.settings import Precision

_OPSET = 17


def identity() -> str:
    """ONNX Runtime's version and the kind of processor.

    Example:
        >>> identity().split()[0]
        'onnxruntime'
    """
    return f"onnxruntime {onnxruntime.__version__} opset {_OPSET} {platform.machine()}"


def supports(precision: Precision) -> bool:
    """Whether the graphs run in a precision: float32 only."""
    return precision == "float32"


def convert(part: nn.Module, example: torch.Tensor) -> bytes:
    """Converts a part of a network; all axes of its input but the channels are dynamic.

    Example:
        >>> len(convert(nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8))) > 0
        True
    """
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: sizes become dynamic
        torch.onnx.export(
            part,
            (example,),
            file,  # type: ignore[arg-type]
            input_names=["input"],
            dynamic_axes={"input": {0: "count", 2: "height", 3: "width"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return file.getvalue()


def save(converted: bytes, folder: Path, name: str) -> None:
    """Writes a converted part into a folder."""
    (folder / f"{name}.onnx").write_bytes(converted)


def load(folder: Path, name: str) -> bytes:
    """Reads what `save` wrote."""
    return (folder / f"{name}.onnx").read_bytes()


def compiled(converted: bytes, streams: int, precision: Precision = "float32") -> Graph:
    """Compiles a part for this CPU, in float32, with PyTorch's number of threads for all streams together."""
    options = onnxruntime.SessionOptions()
    # Besides the threads of this pool, each thread that calls `run` works itself.
    options.intra_op_num_threads = max(torch.get_num_threads() - streams, 0) + 1
    # Threads that wait for work in a loop would slow down PyTorch's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(converted, options, providers=["CPUExecutionProvider"])

    def run(value: np.ndarray) -> Sequence[np.ndarray]:
        return session.run(None, {"input": value})

    return run
