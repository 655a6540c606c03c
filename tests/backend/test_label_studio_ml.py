"""MaskRCNNBackend in the server of label-studio-ml 1.0.9, the registry's newest."""

from __future__ import annotations

from pathlib import Path

from image_server import ImageServer
from label_studio_ml_checks import check, run


def test_the_registrys_version(image_server: ImageServer, tmp_path: Path) -> None:
    """Its server names its own version (INITIAL) in /setup, whatever a backend says: docs advise our routes."""
    answers = run(image_server, tmp_path)
    assert answers["version"] == "1.0.9"
    check(answers["answers"], says_version=False)
