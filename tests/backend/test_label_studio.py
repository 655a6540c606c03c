"""A real Label Studio as the client: connect, retrieve predictions, click, in its API and in a browser.

Screenshots for the documents are written into the folder that MASKBRIDGE_SCREENSHOTS names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from image_server import jpeg
from label_studio_checks import check_result, mask_of
from label_studio_page import logged_in, screenshot
from label_studio_process import LabelStudioProcess
from maskbridge.adapter import Instances, MaskRCNN
from maskbridge.cli.demo import IMAGES
from maskbridge.labelstudio.plan import make_plan
from maskbridge.labelstudio.tags import TAGS, LabelTag, PolygonLabels, RectangleLabels
from waiting import wait_for

SNOWBOARDER = IMAGES / "snowboarder.jpg"
"""A person whom the bundled weights detect, on snow: masks show as color."""
CONFIG = (
    '<View><Image name="image" value="$image"/><{tag} name="label" toName="image">'
    '<Label value="Person" alias="human"/><Label value="zebra"/></{tag}></View>'
)
SMART = (
    '<View><BrushLabels name="mask" toName="image"><Label value="Person" background="green"/></BrushLabels>'
    '<RectangleLabels name="box" toName="image" smart="true" smartOnly="true">'
    '<Label value="Person" background="blue"/></RectangleLabels>'
    '<KeyPointLabels name="point" toName="image" smart="true" smartOnly="true">'
    '<Label value="Person" background="red"/></KeyPointLabels>'
    '<Image name="image" value="$image" maxHeight="600px"/></View>'
)


@pytest.fixture(scope="module")
def backend(serve: Callable[..., Any], label_studio: LabelStudioProcess) -> Any:
    started = serve(
        weights="bundled", label_studio_url=label_studio.url, label_studio_token=label_studio.token, allowed_hosts=""
    )
    started.wait_until_ready()
    return started


@pytest.fixture(scope="module")
def cameraman() -> np.ndarray:
    """A gray image of a person whom the bundled weights find: masks on it show as color."""
    import skimage

    return np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "camera.png").convert("RGB"))


@pytest.fixture(scope="module")
def uploads(images: list[Path], astronaut: np.ndarray) -> list[tuple[str, bytes]]:
    """Six images, and one that a viewer turns."""
    wide = np.pad(astronaut, ((0, 0), (0, 188), (0, 0)))
    turned = jpeg(np.ascontiguousarray(np.rot90(wide)), orientation=6)
    files = [(f"{number}{path.suffix}", path.read_bytes()) for number, path in enumerate(images[:6])]
    return [*files, ("turned.jpg", turned)]


def expected_of(bundled: MaskRCNN, uploads: list[tuple[str, bytes]]) -> list[Instances]:
    return bundled.predict([data for _, data in uploads], confidence_threshold=0.5)


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag.kind)
def test_predictions_are_retrieved(
    tag: type[LabelTag],
    label_studio: LabelStudioProcess,
    backend: Any,
    uploads: list[tuple[str, bytes]],
    bundled: MaskRCNN,
) -> None:
    config = CONFIG.format(tag=tag.kind)
    project = label_studio.project(config, uploads)
    connected = label_studio.connect(project, backend.url)
    assert connected.status_code == 201, connected.text
    assert connected.json()["readable_state"] == "Connected"
    assert label_studio.retrieve_predictions(project)["processed_items"] == 7
    tasks = label_studio.tasks(project)
    results, count = [], 0
    for task, expected in zip(tasks, expected_of(bundled, uploads)):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == connected.json()["model_version"]
        result = prediction["result"]
        check_result(result, {"human"})
        assert {(region["original_height"], region["original_width"]) for region in result} <= {expected.size}
        if len(expected):
            assert prediction["score"] == pytest.approx(np.mean([region["score"] for region in result]))
        count += compare(tag, config, bundled, result, expected)
        results.append({"task": task, "result": result})
    assert count
    validate_with_the_sdk(label_studio, config, results)
    # Asked again, there is nothing left to do: the model version is the one of `/setup`.
    label_studio.retrieve_predictions(project)
    assert all(len(task["predictions"]) == 1 for task in label_studio.tasks(project))


def compare(tag: type[LabelTag], config: str, bundled: MaskRCNN, result: list[dict[str, Any]], expected: Instances) -> int:
    """What came back through Label Studio's database against the adapter's own."""
    (image,) = make_plan(config, bundled.class_names, 0.5).images
    if not result:
        assert not len(expected)
        return 0
    decoded = image.tags[0].decode(result)
    if tag is RectangleLabels:
        inside = np.clip(expected.boxes, 0, [expected.size[1], expected.size[0]] * 2)
        np.testing.assert_allclose(decoded.boxes, inside, atol=1e-3)
    elif issubclass(tag, PolygonLabels):
        filled = []
        for frame in expected.frames():
            contours, _ = cv2.findContours(frame.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            for contour in contours:
                filled.append(cv2.drawContours(np.zeros(frame.shape, np.uint8), [contour], -1, 1, cv2.FILLED) > 0)
        for drawn in decoded.frames():
            assert max((drawn & part).sum() / (drawn | part).sum() for part in filled) >= 0.95
        assert len(decoded) >= len(expected)
    else:
        assert len(decoded) == len(expected)
        for index, region in enumerate(result):
            np.testing.assert_array_equal(decoded.frame(index), expected.frame(index))
            np.testing.assert_array_equal(mask_of(region), expected.frame(index))
    return len(decoded)


def validate_with_the_sdk(label_studio: LabelStudioProcess, config: str, results: list[dict[str, Any]]) -> None:
    """By the label-studio-sdk of Label Studio's own environment: ours is too old to know BitmaskLabels."""
    program = (
        "import json, sys\n"
        "from label_studio_sdk.label_interface import LabelInterface\n"
        "config, results = json.load(sys.stdin)\n"
        "interface = LabelInterface(config)\n"
        "for entry in results:\n"
        "    errors = interface.validate_prediction({'result': entry['result'], 'score': 0.5}, return_errors=True)\n"
        "    assert not errors, errors\n"
        "print('valid', len(results))\n"
    )
    done = subprocess.run(
        [label_studio.python, "-c", program], input=json.dumps([config, results]), capture_output=True, text=True
    )
    assert done.stdout.strip() == f"valid {len(results)}", done.stderr[-2000:]


def test_images_without_objects_are_not_asked_for_again(label_studio: LabelStudioProcess, backend: Any) -> None:
    project = label_studio.project(
        CONFIG.format(tag="BrushLabels"), [("gray.jpg", jpeg(np.full((200, 300, 3), 99, np.uint8)))]
    )
    assert label_studio.connect(project, backend.url).status_code == 201
    label_studio.retrieve_predictions(project)
    ((prediction,),) = [task["predictions"] for task in label_studio.tasks(project)]
    assert prediction["result"] == []


def test_bad_tasks_do_not_stop_the_others(label_studio: LabelStudioProcess, backend: Any, astronaut: np.ndarray) -> None:
    folder = label_studio.log.parent / "local"
    folder.mkdir(exist_ok=True)
    (folder / "image.jpg").write_bytes(jpeg(astronaut))
    project = label_studio.project(CONFIG.format(tag="RectangleLabels"))
    with label_studio.client() as client:  # local files are served where a storage says so
        storage = {"project": project, "path": str(folder), "use_blob_urls": True}
        assert client.post("/api/storages/localfiles", json=storage).status_code == 201
    good = "/data/local-files/?d=local/image.jpg"
    bad = (
        "/data/local-files/?d=../../etc/passwd",
        "/data/upload/9/missing.jpg",
        "s3://bucket/a.jpg",
        "http://10.0.0.1/a.jpg",
    )
    label_studio.import_tasks(project, [{"image": value} for value in (good, *bad)])
    assert label_studio.connect(project, backend.url).status_code == 201
    label_studio.retrieve_predictions(project)
    tasks = label_studio.tasks(project)
    assert [len(task["predictions"]) for task in tasks] == [1, 0, 0, 0, 0], backend.log.read_text()
    assert tasks[0]["predictions"][0]["result"]
    log = backend.log.read_text()
    for task in tasks[1:]:
        assert f"task {task['id']}: " in log
    assert label_studio.token not in log


def test_clicks_through_its_api(label_studio: LabelStudioProcess, backend: Any, cameraman: np.ndarray) -> None:
    project = label_studio.project(SMART, [("cameraman.jpg", jpeg(cameraman))])
    number = label_studio.connect(project, backend.url).json()["id"]
    (task,) = label_studio.tasks(project)
    size = {"original_width": 512, "original_height": 512, "image_rotation": 0}
    box = {"x": 4, "y": 12, "width": 57, "height": 87, "rotation": 0, "rectanglelabels": ["Person"]}
    point = {"x": 35, "y": 55, "width": 0.5, "keypointlabels": ["Person"]}
    drawn = [
        {**size, "id": "a", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": box},
        {**size, "id": "b", "type": "keypointlabels", "from_name": "point", "to_name": "image", "value": point},
    ]
    with label_studio.client() as client:
        for region in drawn:
            answer = client.post(
                f"/api/ml/{number}/interactive-annotating", json={"task": task["id"], "context": {"result": [region]}}
            ).json()
            (mask,) = answer["data"]["result"]
            check_result([mask], {"Person"})
            assert (mask["from_name"], mask["type"]) == ("mask", "brushlabels")
            assert mask_of(mask)[int(0.55 * 512), int(0.35 * 512)]
            assert 0.1 < mask_of(mask).mean() < 0.5


@pytest.fixture(scope="module")
def browser_page(label_studio: LabelStudioProcess) -> Iterator[Page]:
    with logged_in(label_studio) as page:
        yield page


def colored(file: Path, box: dict[str, float], rows: slice, columns: slice) -> float:
    """How far the shown image is from gray in a part of it (in 0..1 of its size): gray images show masks by color."""
    with Image.open(file) as opened:
        pixels = np.asarray(opened.convert("RGB"), dtype=np.float64)
    x, y, width, height = (int(box[side]) for side in ("x", "y", "width", "height"))
    image = pixels[y : y + height, x : x + width]
    part = image[int(rows.start * height) : int(rows.stop * height), int(columns.start * width) : int(columns.stop * width)]
    return float((part.max(axis=2) - part.min(axis=2)).mean())


def test_the_labeling_page(browser_page: Page, label_studio: LabelStudioProcess, backend: Any, tmp_path: Path) -> None:
    """Pre-annotated regions lie on the object, with score and model version; a rectangle drawn with the smart tool
    becomes a mask."""
    page = browser_page
    all_tags = "".join(
        f'<{tag.kind} name="{tag.kind}" toName="image" model_score_threshold="0.9">'
        f'<Label value="Person" background="{color}"/></{tag.kind}>'
        for tag, color in zip(TAGS, itertools.cycle(("red", "lime", "blue", "yellow")))
    )
    config = f'<View>{all_tags}<Image name="image" value="$image" maxHeight="600px"/></View>'
    project = label_studio.project(config, [("snowboarder.jpg", SNOWBOARDER.read_bytes())])
    version = label_studio.connect(project, backend.url).json()["model_version"]
    label_studio.retrieve_predictions(project)
    (task,) = label_studio.tasks(project)
    kinds = [region["type"] for region in task["predictions"][0]["result"]]
    assert {tag.kind.lower() for tag in TAGS} == set(kinds)

    page.goto(f"{label_studio.url}/projects/{project}/data?task={task['id']}")
    page.get_by_text(version[:8]).first.wait_for()
    expect(page.locator(".lsf-outliner-item")).to_have_count(len(kinds))
    canvas = page.locator("canvas").first

    def masks_are_drawn() -> tuple[Path, dict[str, float]] | None:
        box, shown = canvas.bounding_box(), tmp_path / "shown.png"
        page.screenshot(path=shown)
        return (shown, box) if box and colored(shown, box, slice(0.3, 0.7), slice(0.44, 0.58)) > 40 else None

    shown, box = wait_for(masks_are_drawn)  # a while after the page says that it is ready
    screenshot(page, "predictions")
    assert colored(shown, box, slice(0.1, 0.4), slice(0.75, 0.95)) < 10

    project = label_studio.project(SMART, [("snowboarder.jpg", SNOWBOARDER.read_bytes())])
    label_studio.connect(project, backend.url)
    (task,) = label_studio.tasks(project)
    with label_studio.client() as client:  # no predictions on opening: what is shown is the click's
        client.patch(f"/api/projects/{project}", json={"evaluate_predictions_automatically": False})
    page.goto(f"{label_studio.url}/projects/{project}/data?task={task['id']}")
    page.get_by_text("Auto-Annotation").click()
    tools = page.locator(".lsf-toolbar button")
    tools.nth(6).hover()  # "Auto-Detect", with the smart tools behind it
    page.locator(".lsf-toolbar [aria-label='rectangle-tool']").last.click()
    selected = page.locator(".lsf-label_selected")
    page.locator(".lsf-label").nth(1).wait_for()
    while selected.count() == 0:  # the tool chooses its label by itself, at times; a click on a chosen one unselects it
        page.locator(".lsf-label").nth(1).click()
        with contextlib.suppress(PlaywrightTimeoutError):
            selected.wait_for(timeout=5_000)
    expect(selected).to_have_count(1)
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    fractions = ((0.4, 0.03), (0.5, 0.5), (0.66, 0.98))
    corners = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in fractions]
    with page.expect_response(lambda answer: "interactive-annotating" in answer.url) as response:
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1], steps=4)
        page.mouse.move(*corners[2], steps=4)
        page.mouse.up()
    assert [region["type"] for region in response.value.json()["data"]["result"]] == ["brushlabels"]
    page.get_by_text("1 suggestions").wait_for()
    screenshot(page, "smart-rectangle")
