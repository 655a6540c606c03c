"""Runs measurements in processes of their own, and formats their results."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil


def result_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints after ``RESULT``, run in a process of its own; exits if it prints none."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    row = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if row is None:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return row.removeprefix("RESULT ")


def add_time(owner: Any, name: str, seconds: dict[str, float], part: str) -> None:
    """Wraps a function of a module or an object: the duration of each call is added to ``seconds[part]``."""
    function = getattr(owner, name)

    def call(*args: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **keywords)
        finally:
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - start

    setattr(owner, name, call)


def spread(values: list[float], digits: int) -> str:
    """Formats the median, minimum and maximum."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")),
        platform.processor(),
    )
    memory_size = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory_size:.0f} GiB, Python {platform.python_version()}"
