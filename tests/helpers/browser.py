"""A real browser."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

PATIENCE = 600_000
"""Milliseconds after which the browser is taken to hang."""


@contextlib.contextmanager
def new_page(width: int, height: int) -> Iterator[Page]:
    """An empty page of this size."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI installs Chromium"
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield page
        browser.close()


def screenshot(page: Page, file: Path) -> None:
    """The page as a picture for the documents, when what moves on it has come to rest."""
    page.wait_for_timeout(2000)
    page.screenshot(path=file, type="jpeg", quality=80)
