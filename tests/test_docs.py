"""The Python examples of the documents run, from top to bottom, on real images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
STAND_INS = {'"DEFAULT"': '"bundled"', '["person", "dog"]': '["person"]'}
"""COCO's weights are a download, which tests must not need."""
SITES = {"example.org", "github.com", "keepachangelog.com", "localhost", "semver.org", "…"}
"""The hosts that documents may name."""


@pytest.mark.parametrize("document", ["README.md", "docs/adapter.md", "docs/fiftyone.md", "docs/training.md"])
def test_examples_run(document: str, astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    images = [{"id": 1, "file_name": "a.jpg", "height": 512, "width": 512}]
    outline = [[60, 500, 120, 300, 160, 60, 300, 40, 360, 300, 430, 500]]
    label = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [60, 40, 370, 460], "segmentation": outline, "iscrowd": 0}
    labels = {"images": images, "annotations": [label], "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for name in ("image.jpg", "street.jpg", "beach.jpg", "images/a.jpg"):
        Image.fromarray(astronaut).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), flags=re.M | re.S)
    assert blocks
    code = "\n".join(blocks)
    for real, stand_in in STAND_INS.items():
        code = code.replace(real, stand_in)
    exec(compile(code, document, "exec"), {"__name__": "__main__"})


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
