"""How benchmarks tell their figures, and of which machine they are."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path

import psutil


def spread(values: list[float], digits: int) -> str:
    """Median, lowest and highest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")),
        platform.processor(),
    )
    memory_size = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory_size:.0f} GiB, Python {platform.python_version()}"
