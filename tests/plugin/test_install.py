"""The ways in which people install the plugin, in processes and folders of their own."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from conftest import ROOT

LIST = "import fiftyone.operators as foo; print(sorted(o.name for o in foo.list_operators(builtin=False)))"
NAMES = "['describe_run', 'finetune', 'segment_boxes', 'segment_instances', 'stop_run']"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The repository as GitHub gives it: an archive of what is committed, and what is changed."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    import zipfile

    path = tmp_path / "served" / "maskbridge.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as zipped:
        for file in files:
            if (ROOT / file).is_file() and not file.startswith(("tests/", "docs/")):
                zipped.write(ROOT / file, f"maskbridge-main/{file}")
    return path


def run(*command: str, plugins: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FIFTYONE_PLUGINS_DIR": str(plugins)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_plugins_download(archive: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("fiftyone"))
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(archive.parent))  # noqa: E731
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_address[1]}/maskbridge.zip"
        done = run(program, "plugins", "download", url, plugins=tmp_path / "plugins")
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert NAMES in run(sys.executable, "-c", LIST, plugins=tmp_path / "plugins").stdout
    shown = run(program, "plugins", "requirements", "@maskbridge/maskbridge", "--print", plugins=tmp_path / "plugins")
    assert "torchvision>=" in shown.stdout
    assert "maskbridge" not in shown.stdout.replace("@maskbridge/maskbridge", ""), "an index may hold anything of that name"


def test_a_missing_package_is_one_clear_line(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "maskbridge").symlink_to(ROOT)
    without = "import sys; sys.modules['maskbridge'] = None; " + LIST
    done = run(sys.executable, "-c", without, plugins=plugins)
    lines = [line for line in done.stderr.splitlines() if "maskbridge plugin needs" in line]
    assert len(lines) == 1
    assert lines[0].endswith(f"pip install '{ROOT}[fiftyone]'"), "the folder that the plugin lies in"
    assert done.stdout.splitlines()[-1] == "[]"
