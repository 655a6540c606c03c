"""Label Studio in a real browser."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from app_page import ARGUMENTS, CHROMIUM
from label_studio_process import EMAIL, PASSWORD, LabelStudioProcess


@contextlib.contextmanager
def logged_in(label_studio: LabelStudioProcess) -> Iterator[Page]:
    """A page of somebody who has logged in."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI installs Chromium"
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(60_000)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", EMAIL)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/user/login" not in url)
        yield page
        browser.close()


def screenshot(page: Page, name: str, tmp_path: Path) -> Path:
    """A picture of the page, for the documents where MASKBRIDGE_SCREENSHOTS names their folder."""
    file = Path(os.environ.get("MASKBRIDGE_SCREENSHOTS") or tmp_path) / f"label-studio-{name}.jpg"
    page.screenshot(path=file, type="jpeg", quality=80)
    return file
