"""FiftyOne's App in a real browser, and what tests do in it."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone.core.service import Service
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

import browser
from backend_process import free_port

NO_ADVERTISEMENT = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"
"""Shown a moment after the first visit, it would cover things."""


@contextlib.contextmanager
def app(dataset: fo.Dataset) -> Iterator[str]:
    """An App server on a dataset; its address there."""
    port, wait = free_port(), Service._wait_for_child_port
    with pytest.MonkeyPatch.context() as patch:
        # FiftyOne gives up after a minute, which is for quiet machines.
        patch.setattr(Service, "_wait_for_child_port", lambda service, port=None: wait(service, port, timeout=1000))
        session = fo.launch_app(dataset, remote=True, port=port)
    try:
        yield f"http://localhost:{port}/datasets/{dataset.name}"
    finally:
        session.close()
        fo.close_app()


@contextlib.contextmanager
def opened(address: str) -> Iterator[Page]:
    """A page of the App with its images on it."""
    with browser.new_page(1280, 800) as page:
        page.add_init_script(NO_ADVERTISEMENT)
        page.goto(address)
        page.locator("[data-cy='looker']").first.wait_for()
        yield page


def open_operator(page: Page, label: str) -> None:
    """Opens an operator's form from the list of operations, which a page that is still loading does not open."""
    search = page.get_by_placeholder(re.compile("Search operations"))
    while not search.is_visible():
        page.keyboard.press("Backquote")
        with contextlib.suppress(PlaywrightTimeoutError):
            search.wait_for(timeout=10_000)
    search.fill("mask")
    page.get_by_text(label, exact=True).click()


def execute(page: Page) -> None:
    page.get_by_role("button", name="Execute", exact=True).click()


KEEP_LABELS = r"""pattern => {
    window.barLabels = [];
    window.runEnd = null;
    const look = () => {
        window.runEnd ||= (document.body.innerText.match(/(completed: |The run failed).*/) || [null])[0];
        for (const label of document.body.innerText.match(new RegExp(pattern, "g")) || [])
            if (!window.barLabels.includes(label)) window.barLabels.push(label);
    };
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def execute_and_watch(page: Page, pattern: str, shot: str | None = None) -> list[str]:
    """Executes an operator; the labels of its progress bar that match a pattern, kept until the run has ended."""
    page.evaluate(KEEP_LABELS, pattern)
    execute(page)
    if shot and os.environ.get("MASKBRIDGE_SCREENSHOTS"):
        page.wait_for_function("window.barLabels.length >= 4")
        page.screenshot(path=Path(os.environ["MASKBRIDGE_SCREENSHOTS"]) / f"{shot}.jpg", type="jpeg", quality=80)
    page.wait_for_function("window.runEnd")  # kept: the notification itself goes away
    assert page.evaluate("window.runEnd").startswith("completed: ")
    return list(page.evaluate("window.barLabels"))


def fill(page: Page, field: Locator, name: str, value: int) -> None:
    """Fills in a number; the form, which is built again while it opens, has sent it to the server then."""
    sent = f'"{name}":{value}'
    while True:
        with (
            contextlib.suppress(PlaywrightTimeoutError),
            page.expect_response(lambda answer: sent in (answer.request.post_data or ""), timeout=10_000),
        ):
            field.fill("")
            field.fill(str(value))
            return


def choose(page: Page, field: Locator, option: str) -> None:
    """Chooses from a list, which closes where the form is built again while it opens."""
    item = page.get_by_role("option", name=re.compile(re.escape(option)))
    while True:
        with contextlib.suppress(PlaywrightTimeoutError):
            field.click(timeout=10_000)
            with page.expect_response(lambda answer: "resolve-type" in answer.url, timeout=10_000):
                item.click(timeout=10_000)
            return
        page.keyboard.press("Escape")


def screenshot(page: Page, name: str) -> None:
    """A picture for the documents, where MASKBRIDGE_SCREENSHOTS names their folder."""
    if folder := os.environ.get("MASKBRIDGE_SCREENSHOTS"):
        browser.screenshot(page, Path(folder) / f"{name}.jpg")


def drawn(page: Page, locator: Locator) -> np.ndarray:
    """The pixels of an element as the browser shows it; the grid replaces its elements when it loads its images again."""
    while True:
        with contextlib.suppress(PlaywrightError):
            return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)
        page.wait_for_timeout(50)
