"""The documents: commands and examples run, from top to bottom; tables are complete; links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from command_line import maskbridge
from documents import DOCUMENTS, NOT_RUN, SERVERS, run_document, steps

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
SITES = {"example.org", "keepachangelog.com", "localhost", "semver.org", "…"}
"""The hosts that documents may name."""


OF_AN_INDEX = re.compile(r"pip3? install[^&\n]*['\" ]maskbridge(?![^'\"\n]* @ )(\[|['\" ]|$)", flags=re.M)
"""An installation of this package by its name alone."""
TEXT = {".html", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ""}
NOT_IN_THE_SUITE = {
    r"^pip install uv && uv run maskbridge demo$": "run once for all documents, and by tests/test_distribution.py",
    r"^pip install \"\.": "tests/test_distribution.py installs the package",
    r"^uv build$": "run by tests/test_distribution.py",
    r"app launch|maskbridge serve|label-studio start|localhost|LABEL_STUDIO_TOKEN": "takes ports that others may use: "
    "tests/plugin/test_app.py and tests/backend start them on others, .ci/documents as written",
}
"""Lines that `.ci/documents` runs and the suite does not, with the reason."""


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is committed or new in this checkout, in which the demo has run."""
    folder = tmp_path_factory.mktemp("clone") / "maskbridge"
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for file in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / file).is_file() and not file.startswith(("tests/", "benchmarks/")):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, folder / file)
    done = maskbridge("demo", "-o", folder / "maskbridge-demo")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_examples_run(document: str, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_NO_SYNC", "1")
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", sys.prefix)
    if document == "docs/fiftyone.md":  # it installs the plugin
        monkeypatch.setenv("FIFTYONE_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("FIFTYONE_MODEL_ZOO_DIR", str(tmp_path / "zoo"))
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))  # other tests list the weights that are there
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    results = list(run_document(document, clone, skip=NOT_IN_THE_SUITE))
    failed = [f"{result.step.text}: {result.output[-2000:]}" for result in results if result.exit_code not in (0, None)]
    assert failed == []


def test_every_command_in_the_documents_is_run_somewhere() -> None:
    """A document with commands is listed, and the lists of exceptions hold no pattern that matches nothing."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
    assert {document for document, text in texts.items() if steps(text)} <= set(DOCUMENTS)
    lines = [step.text for text in texts.values() for step in steps(text)]
    for pattern in [*NOT_RUN, *NOT_IN_THE_SUITE, *SERVERS]:
        assert any(re.search(pattern, line) for line in lines), f"nothing matches {pattern}"


def test_no_address_is_made_up_and_no_index_is_asked_for_this_package() -> None:
    """Whoever takes the package's name on an index would otherwise be installed by these commands."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for file in files:
        if (ROOT / file).suffix in TEXT and (ROOT / file).is_file():
            text = (ROOT / file).read_text()
            assert not re.search(r"pip3? install[^&\n]*['\" ]maskbridge(?![^'\"\n]* @ )(\[|['\" ]|$)", text, flags=re.M), (
                file
            )
            assert "github.com/" + "maskbridge" not in text, file
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["fiftyone"]
    assert [line for line in requirements if not line.startswith("#")] == wanted


def test_label_configs_of_the_documents_ask_for_something() -> None:
    from maskbridge.labelstudio.plan import make_plan

    configs = re.findall(r"^```xml\n(.*?)^```", (ROOT / "docs" / "label-studio.md").read_text(), flags=re.M | re.S)
    assert len(configs) == 3
    for config in configs:
        (image,) = make_plan(config, ("__background__", "person", "cat", "dog"), 0.5).images
        assert image.tags


def first_column(document: str, heading: str) -> list[str]:
    """The first column of a document's table that begins with a heading, without backquotes."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", (ROOT / "docs" / document).read_text(), flags=re.M)
    assert table is not None
    return [row.split("|")[1].strip(" `") for row in table.group(1).splitlines()]


def test_the_tables_list_every_operator_and_every_tag() -> None:
    import yaml

    from maskbridge.labelstudio.tags import TAGS
    from maskbridge.plugin.operators import OPERATORS

    names = [operator(_builtin=False).config.name for operator in OPERATORS]
    assert sorted(first_column("fiftyone.md", "operator")) == sorted(names)
    assert sorted(yaml.safe_load((ROOT / "fiftyone.yml").read_text())["operators"]) == sorted(names)
    assert sorted(first_column("label-studio.md", "tag")) == sorted(tag.kind for tag in TAGS)


def test_all_settings_of_the_server_are_documented() -> None:
    from maskbridge.backend.settings import ServerSettings

    text = (ROOT / "docs" / "label-studio.md").read_text()
    missing = [name for name in ServerSettings.model_fields if f"`MASKBRIDGE_{name.upper()}`" not in text]
    assert missing == []
    known = {f"MASKBRIDGE_{name.upper()}" for name in ServerSettings.model_fields}
    assert set(re.findall(r"MASKBRIDGE_[A-Z_]+", text)) <= known


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(p.name for p in ROOT.glob("docs/*.md"))]
)
def test_links_lead_to_a_file_or_a_known_site(document: str) -> None:
    path = next(p for p in (ROOT / document, ROOT / "docs" / document) if p.exists())
    text = path.read_text()
    files = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in files if not (path.parent / target).exists()] == []
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s)`\"'>]+", text)}
    assert hosts <= SITES, "add it to SITES when it has been opened"
