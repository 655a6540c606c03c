"""One word for one thing: names, docstrings, comments, messages, help texts and documents hold no retired word."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    r"photo(?!graph)": "image",
    r"\blabell(ed|ing)\b|\bcolour|\bcentre\b|\bgrey\b|\brasteris|\bnormalis": "American spelling",
    r"\b(is|are|was|were|be|been) told\b|\btold (how|what|after|why|that|once)\b": "reported, logged, called",
    r"\bgo(es|ing)? on\b|\bwent on\b": "continue, resume",
    r"\btrainings\b|\b[Aa] training\b(?! (run|step|set|data|image|loop|target|script|recipe))": "training run",
    r"\bmeans? no class\b": "unmapped label",
    r"\b[Ll]eft out\b|\b[Ll]eaves? out\b": "skipped",
    r"\banew\b": "again, from scratch",
    r"\bsign of life\b": "heartbeat",
    r"\bby chance\b": "randomly",
    r"\bwhat (was|is|it|they|were|people) found\b|\bwas found wrongly\b": "detections, instances, matches",
    r"\b(the )?surest\b": "highest score",
}
NAMES = {"found", "place", "places", "said", "told", "sure", "anew", "photo", "photos"}
"""No variable, argument or attribute is called so: an index, a path, detections, a message have names of their own."""

ADDRESSES = {"place", "places"}
"""The commands' word for the one address of images and labels."""

FILES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.md", "*.yml", "*.yaml", "*.toml"],
    cwd=ROOT, capture_output=True, text=True, check=True,
).stdout.split()  # fmt: skip
TEXT_FILES = sorted(
    {name for name in FILES if name not in ("CHANGELOG.md", "tests/test_words.py") and (ROOT / name).exists()}
)
ALLOWED = {
    ("labelstudio/exports.py", '"photo"'): "a field name in users' exports",
}


@pytest.mark.parametrize("pattern", TEXTS, ids=lambda pattern: TEXTS[pattern])
def test_texts_hold_no_retired_word(pattern: str) -> None:
    lines = [
        f"{name}:{number}: {line.strip()}"
        for name in TEXT_FILES
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line) and not any(name == file and part in line for file, part in ALLOWED)
    ]
    assert lines == [], f"say instead: {TEXTS[pattern]}"


def test_nothing_is_called_by_a_retired_word() -> None:
    names = [
        f"{file}:{line}: {name}"
        for file in TEXT_FILES
        if file.endswith(".py")
        for name, line in _names(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if name in NAMES and not (name in ADDRESSES and file.startswith("cli/"))
    ]
    assert names == []


def _names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
