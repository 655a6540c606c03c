"""`MaskRCNNBackend` in label-studio-ml's own servers: the registry's 1.0.9, and 2.x where its source is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from image_server import ImageServer
from label_studio_checks import check_result


def run(image_server: ImageServer, folder: Path, *paths: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "MASKBRIDGE_WEIGHTS": "bundled",
        "MASKBRIDGE_ALLOWED_HOSTS": "127.0.0.1",
        "MODEL_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
    }
    program = Path(__file__).with_name("ml_backend_in_process.py")
    done = subprocess.run(
        [sys.executable, program, f"{image_server.url}/image/0", str(folder)],
        env=environment, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def check(answers: dict[str, Any], *, says_version: bool) -> None:
    assert answers["fit"] == {}
    for label in ("First", "Second"):
        good, bad = answers[label]["predict"]["results"]
        assert bad == []
        assert good["result"]
        check_result(good["result"], {label})
        if says_version:
            assert answers[label]["setup"]["model_version"] == good["model_version"]
    (direct,) = answers["direct"]["predict"]["results"]
    check_result(direct["result"], {"Direct"})


def test_the_registrys_version(image_server: ImageServer, tmp_path: Path) -> None:
    """Its server names its own version (INITIAL) in /setup, whatever a backend says: docs advise our routes."""
    found = run(image_server, tmp_path)
    assert found["version"] == "1.0.9"
    check(found["answers"], says_version=False)


def test_version_2(image_server: ImageServer, tmp_path: Path) -> None:
    source = os.environ.get("MASKBRIDGE_LABEL_STUDIO_ML_2")
    if not source:
        pytest.skip(
            "label-studio-ml 2.x is not on the registry: MASKBRIDGE_LABEL_STUDIO_ML_2 names a folder with its source"
        )
    found = run(image_server, tmp_path, source)
    assert found["version"] == "2.x"
    check(found["answers"], says_version=True)
