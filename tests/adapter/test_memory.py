"""No tensor of N full frames exists at any time, and a large image stays under 2 GB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from maskbridge.adapter.images import as_float, read
from seeded import seeded

HEIGHT, WIDTH = 1500, 2000


class LargestTensor(TorchDispatchMode):
    """Notes the most elements that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_no_tensor_of_n_full_frames_is_made(astronaut: np.ndarray) -> None:
    model = seeded("maskrcnn_mobilenet_v2_fpn", spread=0.1)
    image = as_float(read(Image.fromarray(astronaut).resize((WIDTH, HEIGHT))))
    with LargestTensor() as largest:
        instances = model.predict(image)[0]
    assert len(instances) == 100
    assert largest.elements <= 3 * HEIGHT * WIDTH  # the image itself
    with torch.no_grad(), LargestTensor() as theirs:
        model.network([image])
    assert theirs.elements >= 100 * HEIGHT * WIDTH, "the test would not notice"


MEASURE = f"""
import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2] / "benchmarks")!r})
import pathlib, skimage
from PIL import Image
from seeded import seeded
model = seeded("maskrcnn_resnet50_fpn", anchors=((1200,), (1500,), (1800,), (2000,), (2400,)))
image = Image.open(pathlib.Path(skimage.__file__).parent / "data" / "astronaut.png").resize((4000, 3000))
found = model.predict(image)[0]
status = pathlib.Path("/proc/self/status").read_text()  # getrusage would count the parent's memory at the fork
print(len(found), int(status.split("VmHWM:")[1].split()[0]) / 1024, sum(crop.pixels.size for crop in found.masks) / 12e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_peak_memory_of_the_whole_process_on_12_megapixels_with_100_objects() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    count, megabytes, frames = map(float, done.stdout.split())
    assert count == 100
    assert frames > 1, "the masks are too small to show anything"
    assert megabytes < 2000
