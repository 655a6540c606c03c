"""Converted networks on disk: made once, whatever happens to them or beside them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.engines import cache, onnx_engine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "engines"


@pytest.mark.openvino
def test_a_converted_network_is_loaded_again(home: Path, astronaut: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = (MaskRCNN("bundled", engine="openvino", progress=False) for _ in range(2))
    assert len([line for line in caplog.messages if "converting" in line]) == 1
    one, other = first.predict(astronaut)[0], second.predict(astronaut)[0]
    assert len(one) >= 1
    np.testing.assert_array_equal(one.scores, other.scores)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "damage"),
    [("openvino", "flipped"), *(("onnxruntime", damage) for damage in ("truncated", "empty", "checksums", "missing"))],
)
def test_a_damaged_cache_is_made_again(
    other: Any, damage: str, home: Path, astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    expected = MaskRCNN("bundled", engine=other, progress=False).predict(astronaut)[0]
    (folder,) = home.iterdir()
    file = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 255
    changed = {"truncated": content[: len(content) // 2], "empty": b""}.get(damage, content)
    if damage in ("flipped", "truncated", "empty"):
        file.write_bytes(changed)
    elif damage == "checksums":
        (folder / "checksums.json").write_text('["')
    else:
        file.unlink()
    actual = MaskRCNN("bundled", engine=other, progress=False).predict(astronaut)[0]
    np.testing.assert_array_equal(actual.scores, expected.scores)  # type: ignore[arg-type]
    assert "is damaged" in caplog.text
    caplog.clear()
    MaskRCNN("bundled", engine=other, progress=False)
    assert not caplog.messages
    assert len(list(home.iterdir())) == 1


def test_another_version_is_converted_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MaskRCNN("bundled", engine="onnxruntime", progress=False)
    monkeypatch.setattr(onnx_engine, "identity", lambda: "onnxruntime 99.0 another processor")
    MaskRCNN("bundled", engine="onnxruntime", progress=False)
    assert len(list(home.iterdir())) == 2


def test_only_the_last_used_networks_are_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 2)
    for version in "123":
        monkeypatch.setattr(onnx_engine, "identity", lambda version=version: f"onnxruntime {version}")
        MaskRCNN("bundled", engine="onnxruntime", progress=False)
    assert len(list(home.iterdir())) == 2


def test_a_home_that_cannot_be_written_to_works(
    home: Path, astronaut: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    home.parent.write_text("a file, not a folder")
    assert MaskRCNN("bundled", engine="onnxruntime", progress=False).predict(astronaut)[0]
    assert "cannot be kept" in caplog.text


def test_a_disk_that_is_full_while_converting(home: Path) -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"  # as a full disk, writes fail
        "import numpy; from maskbridge.adapter import MaskRCNN;"
        "print(len(MaskRCNN('bundled', engine='openvino').predict(numpy.zeros((64, 64, 3), numpy.uint8))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr
    assert "cannot be kept; is the disk full?" in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("other", ["openvino", "onnxruntime"])
def test_two_processes_convert_at_once(other: str, home: Path) -> None:
    program = (
        "import numpy, sys; from maskbridge.adapter import MaskRCNN;"
        f"print(len(MaskRCNN('bundled', engine='{other}').predict(numpy.zeros((64, 64, 3), numpy.uint8))),"
        "[name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        assert output.split() == [b"1", b"[]"], "OpenVINO reports nothing to its makers"
        assert b"is damaged" not in errors
    assert [path.name.split("-")[0] for path in home.iterdir()] == [other]
