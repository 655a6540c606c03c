"""The operators in a real App, in a real browser.

Screenshots for the documents are written into the folder that MASKBRIDGE_SCREENSHOTS names; then the images are those that
scikit-image ships, since COCO's may not be shown without credit.
"""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from app_page import app, drawn, execute, open_operator, opened, screenshot
from maskbridge.plugin.jobs import records

NAME = "maskbridge-app-test"


@pytest.fixture(scope="module")
def shown(images: list[Path], astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(astronaut).save(folder / "astronaut.jpg")
    dataset = fo.Dataset(NAME, overwrite=True)
    if os.environ.get("MASKBRIDGE_SCREENSHOTS"):
        import skimage

        names = ("camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "coins.png")
        images = [Path(skimage.__file__).parent / "data" / name for name in names]
    paths = [folder / "astronaut.jpg", *images[:7]]
    dataset.add_samples([fo.Sample(str(path)) for path in paths], progress=False)
    dataset.compute_metadata(progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def address(shown: fo.Dataset) -> Iterator[str]:
    with app(shown) as address:
        yield address


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with opened(address) as page:
        yield page


def watch_bar(page: Page, shot: str | None = None) -> list[str]:
    """The labels of the progress bar until the run has ended."""
    seen: list[str] = []
    deadline = time.monotonic() + 120
    while True:
        text = page.inner_text("body")
        for label in re.findall(r"\d+ of \d+: \d+ objects", text):
            if label not in seen:
                seen.append(label)
                if shot and len(seen) == 4:
                    screenshot(page, shot)
        if "completed: " in text or "The run failed" in text:
            return seen
        assert time.monotonic() < deadline, text
        page.wait_for_timeout(30)


def test_segment_instances_from_the_menu_to_masks_on_the_images(page: Page, shown: fo.Dataset) -> None:
    first = page.locator("[data-cy='looker']").first
    before = drawn(page, first)
    open_operator(page, "Mask R-CNN: segment instances")
    page.get_by_text("Label field").wait_for()
    page.wait_for_timeout(500)
    screenshot(page, "segment-instances")
    execute(page)
    seen = watch_bar(page, "progress")
    assert len(seen) >= 3, f"the bar did not move: {seen}"
    assert seen[-1].startswith("8 of 8: ")
    page.get_by_role("button", name="Done").click()
    page.wait_for_timeout(2500)
    shown.reload()
    assert shown.count("instances") == 8
    assert shown.count("instances.detections.mask") >= 2
    after = drawn(page, first)
    assert (np.abs(after - before).max(axis=2) > 30).mean() > 0.05, "no mask is seen on the grid"
    screenshot(page, "grid")
    size = first.bounding_box()
    assert size is not None
    first.click(position={"x": size["width"] - 12, "y": size["height"] - 12})  # the other corner selects
    page.locator("#modal.modalon").wait_for()
    page.wait_for_timeout(2500)
    screenshot(page, "sample")
    shown_large = drawn(page, page.locator("#modal"))
    magenta = (shown_large[:, :, 0] > 120) & (shown_large[:, :, 1] < shown_large[:, :, 0] - 40)
    page.keyboard.press("Escape")  # the server would open it again with the next page
    page.wait_for_timeout(1000)
    assert magenta.mean() > 0.02, "no mask is seen in the sample"


def test_wrong_values_are_named_and_cannot_be_executed(page: Page, shown: fo.Dataset) -> None:
    open_operator(page, "Mask R-CNN: segment instances")
    page.get_by_text("Label field").wait_for()
    page.wait_for_timeout(500)
    confidence = page.locator("input[type='number']").first
    confidence.fill("7")
    page.get_by_text("a number from 0 to 1, not 7").wait_for()
    screenshot(page, "wrong-value")


def test_masks_for_boxes(page: Page, shown: fo.Dataset) -> None:
    sample = shown.first()
    sample["drawn"] = fo.Detections(detections=[fo.Detection(label="person", bounding_box=[0.2, 0.05, 0.5, 0.88])])
    sample.save()
    shown.add_dynamic_sample_fields()
    page.reload()
    page.locator("[data-cy='looker']").first.wait_for()
    open_operator(page, "Mask R-CNN: masks for boxes")
    page.get_by_text("New field").wait_for()
    page.wait_for_timeout(800)
    page.get_by_role("combobox").last.click()
    page.get_by_role("option", name="drawn").click()
    page.wait_for_timeout(800)
    screenshot(page, "segment-boxes")
    execute(page)
    watch_bar(page)
    sample.reload()
    assert sample.drawn.detections[0].mask.any()
    assert sample.drawn.detections[0].label == "person"


def test_describe_run(page: Page, shown: fo.Dataset) -> None:
    open_operator(page, "Mask R-CNN: describe a run")
    page.get_by_text("fingerprint").first.wait_for()
    page.wait_for_timeout(500)
    screenshot(page, "describe-run")


def test_closing_the_tab_stops_a_run(address: str, images: list[Path], tmp_path: Path) -> None:
    """What the page does when its tab is closed: the connection on which the run tells its progress goes away."""
    for index in range(200):
        (tmp_path / f"{index:03}.jpg").symlink_to(images[index % len(images)])
    many = fo.Dataset()
    many.add_samples([fo.Sample(str(path)) for path in sorted(tmp_path.glob("*.jpg"))], progress=False)
    body = {
        "operator_uri": "@maskbridge/maskbridge/segment_instances",
        "dataset_name": many.name,
        "params": {"weights": "bundled", "label_field": "found"},
    }
    request = urllib.request.Request(
        address.split("/datasets")[0] + "/operators/execute/generator",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as stream:
        for _ in range(5):
            stream.readline()
    deadline = time.monotonic() + 30
    while (run := records.describe(many, records.keys(many)[0]))["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run["state"] == "stopped"
    assert 0 < many.count("found") < 200
    many.delete()
