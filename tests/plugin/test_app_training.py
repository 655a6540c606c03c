"""Training and evaluation in a real App, in a real browser: the form, its progress, the new weights, the panel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from app_page import app, choose, execute_and_watch, fill, open_operator, opened, screenshot
from maskbridge.adapter import MaskRCNN
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.plugin.datasets import labeled_dataset
from maskbridge.plugin.evaluation import evaluation_key, of_field
from maskbridge.plugin.labels import to_detections
from shapes import SMALL, shapes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of weights for the server, with some for small images."""
    folder = tmp_path_factory.mktemp("home")
    start = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL))
    start.save(folder / "weights" / "small.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKBRIDGE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fo.Dataset]:
    """Drawn images with their labels, and predictions near them."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    dataset = fo.Dataset("maskbridge-app-training", overwrite=True)
    for index, (image, instances) in enumerate(shapes(12)):
        Image.fromarray(image).resize((4 * image.shape[1], 4 * image.shape[0])).save(folder / f"{index}.png")
        truth = to_detections(instances)
        predicted = truth.copy()
        for detection in predicted.detections:
            x, y, width, height = detection.bounding_box
            detection.bounding_box = [x + rng.normal(0, 0.02), y + rng.normal(0, 0.02), width, height]
            detection.confidence = float(rng.random())
        dataset.add_sample(fo.Sample(str(folder / f"{index}.png"), ground_truth=truth, predicted=predicted))
    dataset.compute_metadata(progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def address(labeled: fo.Dataset, home: Path) -> Iterator[str]:
    with app(labeled) as address:
        yield address


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with opened(address) as page:
        yield page


def test_finetune_from_the_menu_to_new_weights_in_the_list(page: Page, labeled: fo.Dataset, home: Path) -> None:
    open_operator(page, "Mask R-CNN: fine-tune on labels")
    page.get_by_text("Name of the new weights").wait_for()
    fill(page, page.locator("input[type='number']").first, "epochs", 8)
    screenshot(page, "finetune")
    by_default = page.get_by_role("button", name="Schedule", exact=True)
    by_default.wait_for()
    by_default.locator("xpath=following-sibling::*").click()
    page.get_by_text("Run this operation synchronously").click()
    seen = execute_and_watch(page, r"epoch \d+ of 8, step \d+ of \d+, loss .*", "finetune-progress")
    assert len(seen) >= 3, f"the bar did not move: {seen}"
    assert any(re.search(r"mask mAP 0\.\d+", label) for label in seen)
    assert "completed: new weights maskbridge-app-training-ground_truth-" in page.evaluate("window.runEnd")
    page.get_by_role("button", name="Done").click()
    (made,) = (path for path in (home / "weights").glob("*.safetensors") if path.name != "small.safetensors")
    assert MaskRCNN(made).class_names == ("__background__", "bar", "disc")

    open_operator(page, "Mask R-CNN: segment instances")
    page.get_by_text("Label field").wait_for()
    choose(page, page.get_by_role("combobox").filter(has_text="on this machine"), f"{made.stem} (bar, disc)")


def test_an_evaluation_opens_in_the_panel(page: Page, labeled: fo.Dataset) -> None:
    evaluation = run_to_end(of_field(labeled.name, "ground_truth", "predicted", labeled_dataset(labeled, "ground_truth")))
    page.reload()
    page.locator("[data-cy='looker']").first.wait_for()
    page.get_by_title("New panel").or_(page.locator("[data-cy='new-panel-btn']")).first.click()
    page.get_by_text("Model Evaluation").first.click()
    page.get_by_text(evaluation_key("predicted"), exact=True).last.click()
    page.get_by_text("mAP", exact=True).wait_for()
    page.get_by_text("True Positives").wait_for()
    screenshot(page, "evaluation")
    shown = re.search(r"\nmAP\s+([\d.]+)", page.inner_text("body"))
    assert shown is not None
    assert abs(float(shown.group(1)) - evaluation.scores["masks"].numbers["AP"]) < 0.05
