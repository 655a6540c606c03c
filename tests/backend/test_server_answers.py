"""The server's answers: those of the adapter, whatever else is asked of it at the same time."""

from __future__ import annotations

import base64
import concurrent.futures
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from backend_requests import CONFIG, metric, predict, task
from image_server import ImageServer, jpeg
from label_studio_checks import check_result, mask_of
from maskbridge.adapter import MaskRCNN
from waiting import wait_for


def test_answers_equal_the_adapter(backend: Any, image_server: ImageServer, model: MaskRCNN) -> None:
    version = httpx.get(f"{backend.url}/ready").json()["model_version"]
    url = f"{image_server.url}/image"
    results = predict(backend.url, [task(number, f"{url}/{number}") for number in range(8)])
    boxes = predict(
        backend.url,
        [task(number, f"{url}/{number}") for number in range(8)],
        CONFIG.format(tag="RectangleLabels", label="human"),
    )
    count = 0
    for number, (result, rectangles) in enumerate(zip(results, boxes)):
        (expected,) = model.predict([image_server.image(number)], confidence_threshold=0.5)
        assert result["model_version"] == version
        assert len(result["result"]) == len(rectangles["result"]) == len(expected)
        check_result(result["result"], {"Person"})
        check_result(rectangles["result"], {"human"})
        for index, (region, rectangle) in enumerate(zip(result["result"], rectangles["result"])):
            np.testing.assert_array_equal(mask_of(region), expected.frame(index))
            assert region["score"] == pytest.approx(float(expected.scores[index]))
            box = expected.boxes[index]
            assert rectangle["value"]["x"] == pytest.approx(100 * max(box[0], 0) / expected.size[1], abs=1e-4)
            count += 1
    assert count


def test_rotated_images_have_the_size_that_a_browser_shows(backend: Any, astronaut: np.ndarray) -> None:
    wide = np.pad(astronaut, ((0, 0), (0, 188), (0, 0)))
    turned = jpeg(np.ascontiguousarray(np.rot90(wide)), orientation=6)  # a viewer turns it back
    straight = jpeg(wide)
    urls = ["data:image/jpeg;base64," + base64.b64encode(data).decode() for data in (turned, straight)]
    results = predict(backend.url, [task(number, url) for number, url in enumerate(urls)])
    for result in results:
        region = max(result["result"], key=lambda region: region["score"])
        assert (region["original_height"], region["original_width"]) == (512, 700)
    first, second = (mask_of(max(result["result"], key=lambda region: region["score"])) for result in results)
    assert (first & second).sum() / (first | second).sum() > 0.9


def test_three_hundred_tasks_with_ten_broken(backend: Any, image_server: ImageServer) -> None:
    """One request; all good tasks are answered after at most a few, no bad one stops another, memory stays flat."""
    url = image_server.url
    bad = {
        17: f"{url}/status/404", 40: f"{url}/corrupt/x", 63: f"{url}/huge/x", 99: f"{url}/drip/x", 120: "http://10.0.0.1/a.jpg",
        150: f"{url}/text/x", 171: f"{url}/bomb/x", 202: f"{url}/silent/x", 233: None, 260: "/etc/passwd",
    }  # fmt: skip
    process = psutil.Process(backend.process.pid)
    memory = []
    for turn in range(2):
        tasks = [task(n, bad.get(n, f"{url}/image/{1000 * turn + n % (300 - 200 * turn)}")) for n in range(300)]
        tasks[233]["data"] = {"other": 1}
        for _call in range(8):  # one on a quiet machine
            results = predict(backend.url, tasks)
            if sum(result != [] for result in results) == 290:
                break
        assert [number for number, result in enumerate(results) if result == []] == sorted(bad)
        for number, result in enumerate(results):
            if number not in bad:
                check_result(result["result"], {"Person"})
        memory.append(process.memory_info().rss)
    assert memory[1] < memory[0] * 1.15, memory
    log = backend.log.read_text()
    for number in bad:
        assert f"task {number}: " in log
    assert metric(backend.url, 'maskbridge_failures_total{reason="address"}') >= 2
    assert httpx.get(f"{backend.url}/health").status_code == 200


def test_clients_side_by_side_are_not_mixed_up(backend: Any, image_server: ImageServer, model: MaskRCNN) -> None:
    """16 clients with images and label configs of their own (`benchmarks/load.py` does the same for minutes)."""
    sizes = [model.predict([image_server.image(n)], confidence_threshold=0.5)[0] for n in range(8)]

    def client(number: int) -> None:
        label = f"label-{number}"
        config = CONFIG.format(tag=("BrushLabels", "RectangleLabels", "PolygonLabels")[number % 3], label=label)
        for count in range(3):
            which = number + 16 * count
            (result,) = predict(backend.url, [task(which, f"{image_server.url}/image/{which}?client={number}")], config)
            expected = sizes[which % 8]
            check_result(result["result"], {label})
            assert {(region["original_height"], region["original_width"]) for region in result["result"]} <= {expected.size}
            if number % 3 != 2:  # polygons: one for each component
                assert len(result["result"]) == len(expected)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(client, number) for number in range(16)]:
            future.result()


def test_two_projects_at_once_share_the_queue(backend: Any, image_server: ImageServer) -> None:
    """A small request does not wait for the whole of a large one before it."""
    large = [task(n, f"{image_server.url}/image/{n}?large") for n in range(120)]
    small = [task(n, f"{image_server.url}/image/{n}?small") for n in range(2)]
    config = CONFIG.format(tag="RectangleLabels", label="box")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        working = pool.submit(predict, backend.url, large)
        wait_for(lambda: metric(backend.url, "maskbridge_queue_length") >= 50 or working.done())
        results = predict(backend.url, small, config)
        assert not working.done()
        for result in results:
            check_result(result["result"], {"box"})
        for result in working.result():
            check_result(result["result"], {"Person"})


def test_a_task_that_has_nothing_to_fill_is_answered_empty(backend: Any, image_server: ImageServer) -> None:
    """Where the task decides it, it is not asked again; a config without a tag to fill gets no predictions."""
    image = f"{image_server.url}/image/1?empty"
    labels = '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image" value="$labels"/></View>'
    repeater = (
        '<View><Repeater on="$pages"><Image name="i{{idx}}" value="$pages[{{idx}}]"/><BrushLabels name="b{{idx}}" '
        'toName="i{{idx}}"><Label value="person"/></BrushLabels></Repeater></View>'
    )
    for config, data in (
        (labels, {"image": image, "labels": ["yeti"]}),
        (labels, {"image": image}),
        (repeater, {"pages": []}),
    ):
        (result,) = predict(backend.url, [{"id": 1, "data": data}], config)
        assert result["result"] == []
        assert result["model_version"]
    (result,) = predict(backend.url, [{"id": 1, "data": {"pages": [image, image]}}], repeater)
    assert {region["from_name"] for region in result["result"]} <= {"b0", "b1"}
    assert predict(backend.url, [{"id": 1, "data": {"image": image}}, {"id": 2}], repeater) == [[], []]
    assert "task 1: the task's data has no list $pages" in backend.log.read_text()
    unknown = labels.replace(' value="$labels"/>', '><Label value="yeti"/></BrushLabels>')
    assert predict(backend.url, [{"id": 1, "data": {"image": image}}], unknown) == [[]]
