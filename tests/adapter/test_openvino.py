"""The tests that load OpenVINO, in a process of their own (see conftest.py)."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT


def test_in_a_process_of_its_own() -> None:
    options = ["-p", "no:xdist", "-o", "addopts=--import-mode=importlib", "-q", "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT,
        env={**os.environ, "TEST_OPENVINO": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert " passed" in done.stdout
