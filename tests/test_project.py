"""The project's own rules: examples run, arrows hold, the code is clean, the README's commands are what CI runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import maskbridge.adapter
import maskbridge.backend
import maskbridge.cli.main
import maskbridge.labelstudio
import maskbridge.plugin

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (maskbridge.adapter, maskbridge.labelstudio, maskbridge.backend, maskbridge.plugin, maskbridge.cli)
MODULES = [module.name for room in ROOMS for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0
    public = [function for function in vars(module).values() if is_public_function(function, name)]
    assert result.attempted or not public, f"{name} has public functions, and no example"


def is_public_function(function: object, module: str) -> bool:
    """Whether a function is a module's own and has no other example: those of commands are in README and docs."""
    commands = [command.callback for command in maskbridge.cli.main.app.registered_commands] + [maskbridge.cli.main.run]
    own = inspect.isfunction(function) and function.__module__ == module and not function.__name__.startswith("_")
    return own and function not in commands


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_what_is_public_can_be_imported(room: ModuleType) -> None:
    assert [name for name in room.__all__ if getattr(room, name) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        room.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "command",
    [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["lint-imports"]],
    ids=["format", "lint", "arrows"],
)
def test_clean(command: list[str]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types(tmp_path: Path) -> None:
    """mypy does not follow an editable install: it checks a copy of the tree, laid out as it is installed."""
    package = tmp_path / "maskbridge"
    package.mkdir()
    for name in ["__init__.py", "__main__.py", *(room.__name__.split(".")[1] for room in ROOMS)]:
        (package / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "maskbridge"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short() -> None:
    folders = [*(Path(room.__path__[0]) for room in ROOMS), ROOT / "tests", ROOT / "benchmarks"]
    lengths = {path: len(path.read_text().splitlines()) for folder in folders for path in folder.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_the_readme_names_the_two_commands_and_ci_runs_the_second() -> None:
    commands = re.findall(r"^pip install uv && uv run [^`#\n]+$", (ROOT / "README.md").read_text(), flags=re.M)
    assert commands == ["pip install uv && uv run maskbridge demo", "pip install uv && uv run pytest"]
    assert commands[1] in (ROOT / ".ci" / "run").read_text()


def test_all_packages_are_listed() -> None:
    block = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), flags=re.M | re.S)
    assert block is not None
    listed = re.findall(r'"([^"]+)"', block.group(1))
    packages = {
        "maskbridge." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in Path(room.__path__[0]).rglob("__init__.py")
    }
    assert set(listed) == packages | {"maskbridge"}


def test_the_bundled_weights_are_small() -> None:
    assert (ROOT / "adapter" / "data" / "person-tiny.safetensors").stat().st_size < 10e6
