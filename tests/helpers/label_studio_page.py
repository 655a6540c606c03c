"""Label Studio in a real browser."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page

import browser
from label_studio_process import EMAIL, PASSWORD, LabelStudioProcess


@contextlib.contextmanager
def logged_in(label_studio: LabelStudioProcess) -> Iterator[Page]:
    """A page of somebody who has logged in."""
    with browser.new_page(1500, 1000) as page:
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", EMAIL)
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/user/login" not in url)
        yield page


def screenshot(page: Page, name: str) -> None:
    """A picture for the documents, where MASKBRIDGE_SCREENSHOTS names their folder."""
    if folder := os.environ.get("MASKBRIDGE_SCREENSHOTS"):
        browser.screenshot(page, Path(folder) / f"label-studio-{name}.jpg")
