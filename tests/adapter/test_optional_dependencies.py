"""The command that installs an extra names where the package came from, whichever way it was installed."""

from __future__ import annotations

import json
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from conftest import ROOT
from maskbridge.adapter.optional_dependencies import _from_origin, install_command

METADATA = """Metadata-Version: 2.4
Name: maskbridge
Version: 0.1.0
Requires-Dist: numpy>=1.26
Provides-Extra: train
Requires-Dist: filelock>=3.12; extra == "train"
Requires-Dist: matplotlib<4,>=3.8 ; extra == 'train'
Requires-Dist: onnx>=1.16; extra == "onnx"
"""


def test_of_a_checkout_it_is_the_checkout() -> None:
    assert install_command("onnx") == f"pip install -e '{ROOT}[onnx]'"


@pytest.mark.parametrize("name", ["a folder", "maskbridge-0.1.0-py3-none-any.whl"])
def test_of_a_folder_or_a_wheel_it_is_its_path(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert (
        command(tmp_path, {"url": (tmp_path / name).as_uri(), "dir_info": {}}) == f"pip install '{tmp_path / name}[train]'"
    )


def test_of_a_repository_it_is_the_commit(tmp_path: Path) -> None:
    origin = {"url": "https://example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}
    assert command(tmp_path, origin) == "pip install 'maskbridge[train] @ git+https://example.org/a.git@0a1b'"


@pytest.mark.parametrize("origin", [None, {"url": "file:///no/such.whl"}])
def test_else_it_names_the_packages_themselves(origin: object, tmp_path: Path) -> None:
    assert command(tmp_path, origin) == "pip install 'filelock>=3.12' 'matplotlib<4,>=3.8'"


def command(folder: Path, origin: object) -> str:
    info = folder / "maskbridge-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    return _from_origin(PathDistribution(info), "train")
