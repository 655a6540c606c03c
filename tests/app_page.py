"""FiftyOne's App in a real browser, and what tests do in it."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any

import fiftyone as fo
import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from backend_process import free_port
from browser import new_page


@contextlib.contextmanager
def app(dataset: fo.Dataset) -> Iterator[str]:
    """An App server on a dataset; its address there."""
    port = free_port()
    session = fo.launch_app(dataset, remote=True, port=port)
    try:
        yield f"http://localhost:{port}/datasets/{dataset.name}"
    finally:
        session.close()
        fo.close_app()


@contextlib.contextmanager
def opened(address: str) -> Iterator[Page]:
    """A page of the App with its images on it."""
    with new_page(1280, 800) as page:
        page.goto(address)
        page.locator("[data-cy='looker']").first.wait_for()
        dismiss = page.get_by_text("Dismiss", exact=True)
        try:  # an advertisement that covers things, shown a moment after the first visit
            dismiss.click(timeout=8_000)
        except Exception:  # not every version has it
            expect(dismiss).to_have_count(0)
        yield page


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
