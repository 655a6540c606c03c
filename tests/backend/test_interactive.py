"""Smart tools: masks for rectangles, objects under points, before all bulk work, the trunk run once an image."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest

from image_server import ImageServer
from label_studio_checks import check_result, mask_of
from maskbridge.adapter import Instances, MaskCrop, MaskRCNN
from maskbridge.backend.inference.interactive import object_under
from maskbridge.backend.service import Service, start_service
from maskbridge.backend.settings import server_settings
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import parse
from maskbridge.labelstudio.prompts import read_prompts
from waiting import wait_for

IMAGE = '<Image name="image" value="$image"/>'
pytestmark = pytest.mark.engine
BRUSH = '<BrushLabels name="mask" toName="image"><Label value="Person"/><Label value="Thing"/></BrushLabels>'
TOOLS = (
    '<RectangleLabels name="box" toName="image" smart="true" smartOnly="true"><Label value="Person"/><Label value="Thing"/>'
    '<Label value="Other"/></RectangleLabels><KeyPointLabels name="point" toName="image" smart="true">'
    '<Label value="Person"/><Label value="Thing"/></KeyPointLabels><Rectangle name="plain" toName="image" smart="true"/>'
)
CONFIG = f"<View>{IMAGE}{BRUSH}{TOOLS}</View>"


@pytest.fixture(scope="module")
def service(engine: str) -> Service:
    settings = server_settings(weights="bundled", engine=engine, allowed_hosts="127.0.0.1", fetch_threads=2)
    return start_service(settings, Metrics())


@pytest.fixture(scope="module")
def person(image_server: ImageServer, bundled: MaskRCNN) -> tuple[int, Instances]:
    """An image (its number) with a person in it, and what the model finds."""
    for number in range(8):
        instances = bundled.predict([image_server.image(number)], confidence_threshold=0.9)[0]
        if len(instances) == 1:
            return number, instances
    raise AssertionError("no image with one person")


def drawn(
    kind: str, name: str, value: dict[str, Any], size: tuple[int, int], label: str | None, **others: Any
) -> dict[str, Any]:
    labels = {} if label is None else {kind: [label]}
    shape = {"original_height": size[0], "original_width": size[1]}
    return {"id": "x", "type": kind, "from_name": name, "to_name": "image", "value": {**value, **labels}, **shape, **others}


def rectangle(instances: Instances, label: str | None = "Person", **others: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = instances.boxes[0] / np.array([instances.size[1], instances.size[0]] * 2) * 100
    value = {"x": float(x1), "y": float(y1), "width": float(x2 - x1), "height": float(y2 - y1), "rotation": 0}
    kind, name = ("rectanglelabels", "box") if label else ("rectangle", "plain")
    return drawn(kind, name, value, instances.size, label, **others)


def point(instances: Instances, label: str = "Person", *, inside: bool = True, **others: Any) -> dict[str, Any]:
    """A point in the middle of the mask, or in a corner of the image that it does not reach."""
    frame = instances.frame(0)
    rows, columns = np.nonzero(frame)
    middle = np.argsort(columns + 1000 * rows)[len(rows) // 2]
    corners = [(0, 0), (0, frame.shape[1] - 1), (frame.shape[0] - 1, 0), (frame.shape[0] - 1, frame.shape[1] - 1)]
    row, column = (rows[middle], columns[middle]) if inside else next(corner for corner in corners if not frame[corner])
    value = {"x": (column + 0.5) / frame.shape[1] * 100, "y": (row + 0.5) / frame.shape[0] * 100, "width": 0.3}
    return drawn("keypointlabels", "point", value, instances.size, label, **others)


def click(service: Service, image: object, regions: list[Any], config: str = CONFIG) -> list[dict[str, Any]]:
    answer = service.interactive.answer({"id": 1, "data": {"image": image}}, {"result": regions}, config, 1)
    instances = json.loads(answer)
    assert instances["model_version"] == service.registry.own.version
    return list(instances["result"])


def test_a_rectangle_becomes_a_mask(
    service: Service, image_server: ImageServer, person: tuple[int, Instances], bundled: MaskRCNN
) -> None:
    number, instances = person
    url = f"{image_server.url}/image/{number}?rectangle"
    (region,) = click(service, url, [rectangle(instances)])
    check_result([region], {"Person"})
    assert (region["from_name"], region["type"]) == ("mask", "brushlabels")
    size = np.array([instances.size[1], instances.size[0]] * 2)
    box = np.array([[rectangle(instances)["value"][side] for side in ("x", "y", "width", "height")]]) / 100 * size
    box[:, 2:] += box[:, :2]
    expected = bundled.segment_boxes(image_server.image(number), box, classes=["person"])
    np.testing.assert_array_equal(mask_of(region), expected.frame(0))


def test_shapes_are_answered_as_the_box_around_them(
    service: Service, image_server: ImageServer, person: tuple[int, Instances], caplog: pytest.LogCaptureFixture
) -> None:
    """With generic tags, which send and get two results for a region; the reason of no answer is in the log."""
    number, instances = person
    url = f"{image_server.url}/image/{number}?shapes"
    config = (
        f'<View>{IMAGE}<Labels name="label" toName="image"><Label value="Person"/></Labels>'
        '<Brush name="brush" toName="image"/><Rectangle name="plain" toName="image" smart="true" smartOnly="true"/>'
        '<EllipseLabels name="round" toName="image" smart="true" smartOnly="true"><Label value="Person"/></EllipseLabels>'
        "</View>"
    )
    box = rectangle(instances, None)
    label = {**box, "type": "labels", "from_name": "label", "value": {**box["value"], "labels": ["Person"]}}
    shape, labeled = click(service, url, [box, label], config)
    assert (shape["type"], shape["from_name"], labeled["value"]["labels"]) == ("brush", "brush", ["Person"])
    x, y, width, height = (box["value"][side] for side in ("x", "y", "width", "height"))
    around = {"x": x + width / 2, "y": y + height / 2, "radiusX": width / 2, "radiusY": height / 2, "rotation": 0}
    ellipse = click(service, url, [drawn("ellipselabels", "round", around, instances.size, "Person")], config)
    assert ellipse[0]["value"]["rle"] == shape["value"]["rle"]
    for regions, reason in (
        ([drawn("brushlabels", "mask", {}, instances.size, "Person")], "nothing was drawn with a smart tool"),
        ([], "nothing was drawn with a smart tool"),
        ([point(instances, inside=False)], "no object is under the point"),
    ):
        caplog.clear()
        assert click(service, url, regions) == []
        assert f"click in task 1: no answer: {reason}" in caplog.text


def test_labels_of_the_answer(service: Service, image_server: ImageServer, person: tuple[int, Instances]) -> None:
    number, instances = person
    url = f"{image_server.url}/image/{number}?labels"
    # The tool's label, also where it maps to no class; else the box head's class; never one that the answer does not have.
    assert click(service, url, [rectangle(instances, "Thing")])[0]["value"]["brushlabels"] == ["Thing"]
    assert click(service, url, [rectangle(instances, None)])[0]["value"]["brushlabels"] == ["Person"]
    assert click(service, url, [rectangle(instances, "Other")])[0]["value"]["brushlabels"] == ["Person"]
    strangers = CONFIG.replace("Person", "Zebra")
    assert click(service, url, [rectangle(instances, "Other")], strangers) == []


def test_a_point_picks_the_object_under_it(
    service: Service, image_server: ImageServer, person: tuple[int, Instances]
) -> None:
    number, instances = person
    url = f"{image_server.url}/image/{number}?point"
    (region,) = click(service, url, [point(instances)])
    mask = mask_of(region)
    assert (mask & instances.frame(0)).sum() / (mask | instances.frame(0)).sum() > 0.9
    assert click(service, url, [point(instances, inside=False)]) == []
    assert click(service, url, [point(instances), point(instances, is_positive=0)]) == []


def test_points_select_objects_down_to_a_score_of_0_05(
    service: Service, image_server: ImageServer, bundled: MaskRCNN
) -> None:
    """The network's own objects at a lower threshold: those above 0.05 are selected, those below are not."""
    selected = {True: 0, False: 0}
    for number in range(8):
        instances = bundled.predict([image_server.image(number)], confidence_threshold=0.01, max_detections=30)[0]
        for index, score in enumerate(instances.scores):
            others = np.any([instances.frame(other) for other in range(len(instances)) if other != index], axis=0)
            if 0.03 < score < 0.3 and (alone := instances.frame(index) & ~others).any():
                row, column = np.argwhere(alone)[len(np.argwhere(alone)) // 2]
                value = {
                    "x": (column + 0.5) / alone.shape[1] * 100,
                    "y": (row + 0.5) / alone.shape[0] * 100,
                    "width": 0.3,
                }
                drawing = drawn("keypointlabels", "point", value, instances.size, "Person")
                regions = click(service, f"{image_server.url}/image/{number}?scores", [drawing])
                assert bool(regions) == (score > 0.05), score
                selected[bool(regions)] += 1
    assert selected[True] >= 3
    assert selected[False] >= 3


def test_the_project_answers_in_its_own_mask_tag(
    service: Service, image_server: ImageServer, person: tuple[int, Instances]
) -> None:
    number, instances = person
    url = f"{image_server.url}/image/{number}?tags"
    for tag in ("PolygonLabels", "BitmaskLabels"):
        regions = click(service, url, [rectangle(instances)], CONFIG.replace("BrushLabels", tag))
        check_result(regions, {"Person"})
        assert {region["type"] for region in regions} == {tag.lower()}
    only_boxes = (
        f"<View>{IMAGE}<RectangleLabels name='out' toName='image'><Label value='Person'/></RectangleLabels>{TOOLS}</View>"
    )
    assert click(service, url, [rectangle(instances)], only_boxes) == []  # a box for a box is no help
    assert [region["from_name"] for region in click(service, url, [point(instances)], only_boxes)] == ["out"]
    assert click(service, url, [rectangle(instances)], f"<View>{IMAGE}{TOOLS}</View>") == []


def test_images_of_a_list(service: Service, image_server: ImageServer, person: tuple[int, Instances]) -> None:
    number, instances = person
    config = CONFIG.replace('value="$image"', 'valueList="$image"')
    urls = [f"{image_server.url}/image/{number + 1}?list", f"{image_server.url}/image/{number}?list"]
    (region,) = click(service, urls, [rectangle(instances, item_index=1)], config)
    assert region["item_index"] == 1
    assert (region["original_height"], region["original_width"]) == instances.size
    with pytest.raises(TaskImageError, match="no image"):
        click(service, urls, [rectangle(instances, item_index=7)], config)


def test_the_second_click_skips_the_trunk(
    service: Service, image_server: ImageServer, person: tuple[int, Instances], monkeypatch: pytest.MonkeyPatch
) -> None:
    number, instances = person
    url = f"{image_server.url}/image/{number}?second"
    encoded: list[int] = []
    encode = service.registry.own.model.encode
    monkeypatch.setattr(service.registry.own.model, "encode", lambda images: encoded.append(1) or encode(images))
    before = len(image_server.seen)
    first = click(service, url, [rectangle(instances)])
    second = click(service, url, [rectangle(instances)])
    click(service, url, [point(instances)])
    assert len(encoded) == 1
    assert len(image_server.seen) == before + 1
    assert first[0]["value"] == second[0]["value"]
    assert first[0]["id"] != second[0]["id"]


def test_a_click_overtakes_bulk_work(service: Service, image_server: ImageServer, person: tuple[int, Instances]) -> None:
    number, instances = person
    tasks = [{"id": n, "data": {"image": f"{image_server.url}/image/{n}?overtaken"}} for n in range(60)]
    bulk = threading.Thread(target=service.predictor.predict, args=(tasks, CONFIG))
    bulk.start()
    wait_for(lambda: 0 < len(service.predictor) < 55)
    left = len(service.predictor)
    assert click(service, f"{image_server.url}/image/{number}?overtakes", [rectangle(instances)])
    assert len(service.predictor) > left // 2
    bulk.join()


def test_images_that_cannot_be_had(service: Service, person: tuple[int, Instances]) -> None:
    for image in (None, "/etc/passwd", "http://10.0.0.1/a.jpg"):
        with pytest.raises(TaskImageError):
            click(service, image, [rectangle(person[1])])


@pytest.mark.parametrize(
    "region",
    [
        None,
        5,
        {},
        {"value": None},
        {"value": {}, "type": "rectanglelabels", "from_name": "box", "to_name": "image"},
        {
            "value": {"x": "a", "y": 1, "width": 1, "height": 1},
            "type": "rectanglelabels",
            "from_name": "box",
            "to_name": "image",
        },
        {"value": {"x": 1, "y": 1}, "type": "keypointlabels", "from_name": "nothing", "to_name": "image"},
        {"value": {"x": float("inf"), "y": 1}, "type": "keypointlabels", "from_name": "point", "to_name": "image"},
        {"value": {"points": []}, "type": "polygonlabels", "from_name": "mask", "to_name": "image"},
        drawn("rectanglelabels", "box", {"x": 200, "y": 0, "width": 10, "height": 10}, (10, 10), "Person"),
        drawn("rectanglelabels", "box", {"x": 1, "y": 0, "width": 0, "height": 10}, (10, 10), "Person"),
    ],
)
def test_invalid_regions_are_skipped(region: Any) -> None:
    assert read_prompts({"result": [region]}, parse(CONFIG)) == []


def test_a_rotated_rectangle_prompts_with_the_box_around_it() -> None:
    value = {"x": 50, "y": 20, "width": 10, "height": 40, "rotation": 90}
    (prompt,) = read_prompts({"result": [drawn("rectanglelabels", "box", value, (100, 100), "Person")]}, parse(CONFIG))
    assert prompt.box == pytest.approx((0.1, 0.2, 0.5, 0.3))


def test_the_surest_object_under_a_point() -> None:
    crop = MaskCrop(0, 0, np.ones((5, 5), bool))
    inner = MaskCrop(1, 1, np.ones((2, 2), bool))
    instances = Instances((9, 9), np.zeros((2, 4)), [1, 1], ("_", "a"), [crop, inner], scores=[0.4, 0.9])
    assert object_under(instances, [(1.5, 1.5, True)]) == 1
    assert object_under(instances, [(4.5, 4.5, True)]) == 0
    assert object_under(instances, [(1.5, 1.5, True), (4.5, 4.5, True)]) == 0
    assert object_under(instances, [(4.5, 4.5, True), (1.5, 1.5, False)]) is None
    assert object_under(instances, [(8, 8, True)]) is None
    assert object_under(instances, [(8, 8, False)]) is None
