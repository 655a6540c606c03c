"""MaskRCNNBackend in the server of label-studio-ml 2.x, which no registry has.

Beside the suite: ``MASKBRIDGE_LABEL_STUDIO_ML_2=FOLDER uv run pytest tests/backend/label_studio_ml_2.py``, where the folder
holds its source.
"""

from __future__ import annotations

import os
from pathlib import Path

from image_server import ImageServer
from label_studio_ml_checks import check, run


def test_version_2(image_server: ImageServer, tmp_path: Path) -> None:
    answers = run(image_server, tmp_path, os.environ["MASKBRIDGE_LABEL_STUDIO_ML_2"])
    assert answers["version"] == "2.x"
    check(answers["answers"], says_version=True)
