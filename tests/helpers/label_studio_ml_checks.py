"""`MaskRCNNBackend` in label-studio-ml's own servers: the registry's 1.0.9, and 2.x where its source is at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    program = Path(__file__).resolve().parents[1] / "backend" / "ml_backend_in_process.py"
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
