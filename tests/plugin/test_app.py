"""The operators in a real App, in a real browser.

Screenshots for the documents are written into the folder that MASKBRIDGE_SCREENSHOTS names.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from app_page import app, choose, drawn, execute_and_watch, fill, open_operator, opened, screenshot
from maskbridge.cli.demo import IMAGES
from maskbridge.plugin.jobs import records
from waiting import wait_for

NAME = "maskbridge-app-test"
OBJECTS = r"\d+ of \d+: \d+ objects"


@pytest.fixture(scope="module")
def shown(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    """The demo's images, one in many colors, and one in gray."""
    import skimage

    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(astronaut).save(folder / "astronaut.jpg")
    dataset = fo.Dataset(NAME, overwrite=True)
    demo = [IMAGES / f"{name}.jpg" for name in ("park", "snowboarder", "street", "hall", "cyclist", "riders")]
    paths = [*demo, folder / "astronaut.jpg", Path(skimage.__file__).parent / "data" / "camera.png"]
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


def test_segment_instances_from_the_menu_to_masks_on_the_images(page: Page, shown: fo.Dataset) -> None:
    first = page.locator("[data-cy='looker']").first
    before = drawn(page, first)
    open_operator(page, "Mask R-CNN: segment instances")
    page.get_by_text("Label field").wait_for()
    screenshot(page, "segment-instances")
    seen = execute_and_watch(page, OBJECTS, "progress")
    assert len(seen) >= 3, f"the bar did not move: {seen}"
    assert seen[-1].startswith("8 of 8: ")
    page.get_by_role("button", name="Done").click()
    shown.reload()
    assert shown.count("instances") == 8
    assert shown.count("instances.detections.mask") >= 2
    wait_for(lambda: (np.abs(drawn(page, first) - before).max(axis=2) > 30).mean() > 0.05)  # the masks are on the grid
    screenshot(page, "grid")
    size = first.bounding_box()
    assert size is not None
    first.click(position={"x": size["width"] - 12, "y": size["height"] - 12})  # the other corner selects
    page.locator("#modal.modalon").wait_for()

    def masks_are_drawn() -> bool:
        sample = drawn(page, page.locator("#modal"))
        magenta = (sample[:, :, 0] > 120) & (sample[:, :, 1] < sample[:, :, 0] - 40)
        return bool(magenta.mean() > 0.02)

    wait_for(masks_are_drawn)
    screenshot(page, "sample")
    page.keyboard.press("Escape")  # the server would open it again with the next page
    page.locator("#modal.modalon").wait_for(state="hidden")


def test_wrong_values_are_named_and_cannot_be_executed(page: Page, shown: fo.Dataset) -> None:
    open_operator(page, "Mask R-CNN: segment instances")
    page.get_by_text("Label field").wait_for()
    fill(page, page.locator("input[type='number']").first, "confidence", 7)
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
    choose(page, page.get_by_role("combobox").last, "drawn")
    screenshot(page, "segment-boxes")
    execute_and_watch(page, OBJECTS)
    sample.reload()
    assert sample.drawn.detections[0].mask.any()
    assert sample.drawn.detections[0].label == "person"


def test_describe_run(page: Page, shown: fo.Dataset) -> None:
    open_operator(page, "Mask R-CNN: describe a run")
    page.get_by_text("fingerprint").first.wait_for()
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
        "params": {"weights": "bundled", "label_field": "predicted"},
    }
    request = urllib.request.Request(
        address.split("/datasets")[0] + "/operators/execute/generator",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as stream:
        for _ in range(5):
            stream.readline()
    (key,) = records.keys(many)
    wait_for(lambda: records.describe(many, key)["state"] != "running")
    assert records.describe(many, key)["state"] == "stopped"
    assert 0 < many.count("predicted") < 200
    many.delete()
