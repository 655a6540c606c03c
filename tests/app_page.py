"""FiftyOne's App in a real browser, and what tests do in it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
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


@contextlib.contextmanager
def app(dataset: fo.Dataset) -> Iterator[str]:
    """An App server on a dataset; its address there."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    session = fo.launch_app(dataset, remote=True, port=port)
    try:
        yield f"http://localhost:{port}/datasets/{dataset.name}"
    finally:
        session.close()
        fo.close_app()


@contextlib.contextmanager
def opened(address: str) -> Iterator[Page]:
    """A page of the App with its photos on it."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI installs Chromium"
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        page.goto(address)
        page.locator("[data-cy='looker']").first.wait_for()
        dismiss = page.get_by_text("Dismiss", exact=True)
        try:  # an advertisement that covers things, shown a moment after the first visit
            dismiss.click(timeout=8_000)
        except Exception:  # not every version has it
            expect(dismiss).to_have_count(0)
        yield page
        browser.close()


def open_operator(page: Page, label: str) -> None:
    page.keyboard.press("Backquote")
    page.get_by_placeholder(re.compile("Search operations")).wait_for()
    page.keyboard.type("mask")
    page.get_by_text(label, exact=True).click()


def execute(page: Page) -> None:
    page.get_by_role("button", name="Execute", exact=True).click()


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("MASKBRIDGE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.jpg", type="jpeg", quality=80)


def drawn(page: Page, locator: Any) -> np.ndarray:
    """The pixels of an element as the browser shows it."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)
