"""The server as people run it: a real process, real requests, real images, and everything at once."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from backend_process import Backend, free_port
from image_server import ImageServer, jpeg
from label_studio_checks import check_result, mask_of
from maskbridge.adapter import MaskRCNN
from waiting import wait_for

CONFIG = (
    '<View><Image name="image" value="$image"/><{tag} name="label" toName="image">'
    '<Label value="{label}" predicted_values="person"/></{tag}></View>'
)
BRUSH = CONFIG.format(tag="BrushLabels", label="Person")
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def backend(serve: Start) -> Any:
    started = serve(log_level="debug", fetch_seconds=20)
    started.wait_until_ready()
    return started


@pytest.fixture(scope="module")
def model(quick: Path) -> MaskRCNN:
    """The server's model."""
    return MaskRCNN(quick)


def task(number: int, image: object) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "project": 1}


def predict(url: str, tasks: list[Any], config: str = BRUSH, **others: Any) -> list[Any]:
    body = {"tasks": tasks, "label_config": config, "project": "1.1700000000", "params": {"context": None}, **others}
    answer = httpx.post(f"{url}/predict", json=body, timeout=600)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == len(tasks)
    return list(results)


def metric(url: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+-]+)$", httpx.get(f"{url}/metrics").text, flags=re.M)
    return float(found.group(1)) if found else 0.0


SECRETS = ("legacy-token-aaaabbbbccccdddd", "pass:wörd-eeee", "setup-token-ffff", "Signature=gggg", "task-pass-hhhh")


@pytest.fixture(scope="module")
def guarded(serve: Start, image_server: ImageServer) -> Any:
    """A backend with basic auth and a token, as talkative as it gets, just started."""
    return serve(
        log_level="debug",
        label_studio_url=image_server.url,
        label_studio_token=SECRETS[0],
        basic_auth_user="me",
        basic_auth_pass=SECRETS[1],
        fetch_seconds=2,
    )


def test_it_is_up_at_once_and_ready_later(guarded: Any) -> None:
    guarded.wait_until_ready("/health")
    assert httpx.get(f"{guarded.url}/health").json() == {"status": "UP"}
    with httpx.Client(base_url=guarded.url, auth=("me", SECRETS[1]), timeout=600) as client:
        early = client.get("/ready")  # torch takes seconds to import
        assert (early.status_code, early.json()["status"]) == (503, "LOADING")
        guarded.wait_until_ready(auth=("me", SECRETS[1]))
        setup = client.post("/setup", json={"project": "1", "schema": BRUSH, "extra_params": {"a": 1}})
        version = setup.json()["model_version"]
        assert re.fullmatch(r"maskrcnn_mobilenet_v2_fpn-quick-[0-9a-f]{12}", version)
        assert client.get("/versions").json() == client.post("/versions", json={}).json() == {"versions": [version]}
        assert client.get("/ready").json() == {"status": "READY", "model_version": version}
    log = guarded.log.read_text()
    assert "setting basic_auth_user = me" in log
    assert "setting label_studio_token = **********" in log


def test_basic_auth_guards_all_but_health(guarded: Any) -> None:
    guarded.wait_until_ready(auth=("me", SECRETS[1]))
    for path in ("/ready", "/setup", "/predict", "/webhook", "/versions", "/metrics"):
        method = "POST" if path in ("/setup", "/predict", "/webhook") else "GET"
        for headers in (
            {},
            {"Authorization": "Basic " + base64.b64encode(b"me:wrong").decode()},
            {"Authorization": "Basic %%%"},
            {"Authorization": "Bearer x"},
        ):
            assert httpx.request(method, guarded.url + path, headers=headers).status_code == 401
    assert httpx.get(f"{guarded.url}/health").status_code == 200
    assert httpx.get(f"{guarded.url}/metrics", auth=("me", SECRETS[1])).status_code == 200


def test_answers_equal_the_adapter(backend: Any, image_server: ImageServer, model: MaskRCNN) -> None:
    version = httpx.get(f"{backend.url}/ready").json()["model_version"]
    url = f"{image_server.url}/image"
    results = predict(backend.url, [task(number, f"{url}/{number}") for number in range(8)])
    boxes = predict(
        backend.url,
        [task(number, f"{url}/{number}") for number in range(8)],
        CONFIG.format(tag="RectangleLabels", label="human"),
    )
    found = 0
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
            found += 1
    assert found


def test_turned_images_have_the_size_that_a_browser_shows(backend: Any, astronaut: np.ndarray) -> None:
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
    process = psutil.Process(backend.process.pid).children()[0]
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


def test_the_deadline_and_asking_again(serve: Start, image_server: ImageServer) -> None:
    """What is done by the deadline is answered; the rest continues, and is answered immediately when asked for again."""
    started = serve(deadline=6, fetch_threads=8, fetch_seconds=600)
    started.wait_until_ready()
    url = image_server.url
    tasks = [task(n, f"{url}/image/{n}?deadline" if n % 2 else f"{url}/held/deadline?{n}") for n in range(8)]

    def without_held() -> list[Any]:
        results = predict(started.url, tasks)
        return results if sum(result != [] for result in results) == 4 else []

    first = wait_for(without_held)
    assert [n for n, result in enumerate(first) if result != []] == [1, 3, 5, 7]
    assert metric(started.url, "maskbridge_queue_length") == 4
    image_server.release("deadline")
    wait_for(lambda: metric(started.url, "maskbridge_queue_length") == 0)
    requests = len(image_server.seen)
    again = predict(started.url, tasks)
    assert all(result != [] for result in again)
    assert [again[n] for n in (1, 3, 5, 7)] == [first[n] for n in (1, 3, 5, 7)]
    assert metric(started.url, 'maskbridge_stage_seconds_count{stage="model"}') == 8
    assert len(image_server.seen) == requests


def test_a_full_queue_answers_at_once(serve: Start, image_server: ImageServer) -> None:
    started = serve(queue_size=10, fetch_threads=1, deadline=600, fetch_seconds=600, requests_at_once=1)
    started.wait_until_ready()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        working = pool.submit(predict, started.url, [task(0, f"{image_server.url}/held/full")])
        wait_for(lambda: image_server.requests("/held/full"))
        assert predict(started.url, [task(1, f"{image_server.url}/image/1")]) == [[]]  # requests_at_once are running
        assert not working.done()
        image_server.release("full")
        assert working.result()[0] != []
    results = predict(started.url, [task(n, f"{image_server.url}/image/{n}?full") for n in range(30)])
    assert 10 <= sum(result != [] for result in results) <= 11
    assert metric(started.url, 'maskbridge_tasks_total{outcome="queue_full"}') >= 20
    again = predict(started.url, [task(n, f"{image_server.url}/image/{n}?again") for n in range(9)])
    assert all(result != [] for result in again)


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


def test_sigterm_finishes_what_was_accepted(serve: Start, image_server: ImageServer) -> None:
    started = serve(deadline=600, fetch_seconds=600, log_level="debug")
    started.wait_until_ready()

    def ask(number: int) -> list[Any]:
        addresses = [
            f"{image_server.url}/held/term?{number}",
            *(f"{image_server.url}/image/{n}?{number}" for n in range(5)),
        ]
        tasks = [task(n, address) for n, address in enumerate(addresses)]
        body = json.dumps({"tasks": tasks, "label_config": BRUSH, "project": "1", "params": {}}).encode()
        with socket.create_connection(("127.0.0.1", int(started.url.rpartition(":")[2]))) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
        head_bytes, _, text = answer.partition(b"\r\n\r\n")
        assert b"200 OK" in head_bytes, answer[:200]
        return list(json.loads(text)["results"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        working = [pool.submit(ask, number) for number in range(8)]
        wait_for(lambda: image_server.requests("/held/term") == 8, started.process, started.log)  # all are accepted
        started.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in started.log.read_text())
        image_server.release("term")
        for future in working:
            results = future.result()
            assert len(results) == 6
            assert all(result != [] for result in results)
    assert started.process.wait() == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"tasks": 3, "label_config": "<View/>"}', 400),
        (b'{"tasks": []}', 400),
        (b'{"tasks": [], "label_config": "<View"}', 400),
        (b'{"tasks": [], "label_config": "<View/>", "params": null}', 200),
        (b'{"tasks": [null, 3, {}, {"data": null}], "label_config": "<View/>"}', 200),
        (b'{"tasks": [{"id": "x", "data": {"image": 3}}], "label_config": "<View/>", "params": {"context": 5}}', 200),
        (b'{"tasks": [{}], "label_config": "<View/>", "params": {"context": {"result": [1]}}}', 200),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
    ],
)
def test_odd_requests_are_answered(backend: Any, body: bytes, status: int) -> None:
    answer = httpx.post(f"{backend.url}/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    if status == 200:
        assert len(answer.json()["results"]) == len(json.loads(body)["tasks"])
    else:
        assert answer.json()["error"]


def test_odd_routes_are_answered(backend: Any) -> None:
    assert httpx.get(f"{backend.url}/nothing").status_code == 404
    assert httpx.get(f"{backend.url}/predict").status_code == 405
    assert httpx.post(f"{backend.url}/setup", content=b"x").status_code == 400
    assert httpx.post(f"{backend.url}/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200
    assert httpx.post(f"{backend.url}/webhook", json={"action": "START_TRAINING"}).status_code == 409
    with socket.create_connection(("127.0.0.1", int(backend.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{")
        assert b" 413 " in raw.recv(1000)
    for word in ('maskbridge_requests_total{endpoint="/predict"', "maskbridge_queue_length", "maskbridge_ready 1.0"):
        assert word in httpx.get(f"{backend.url}/metrics").text


def test_nothing_secret_and_no_traceback_is_logged(guarded: Any, image_server: ImageServer) -> None:
    """At the debug level, with every way of failing."""
    started, secrets = guarded, SECRETS
    started.wait_until_ready(auth=("me", secrets[1]))
    with httpx.Client(base_url=started.url, auth=("me", secrets[1]), timeout=600) as client:
        client.post("/setup", json={"project": "1", "schema": BRUSH, "access_token": secrets[2]})
        tasks = [
            task(1, f"{image_server.url.replace('127.0.0.1', '127.0.0.2')}/status/500?{secrets[3]}"),
            task(2, f"http://user:{secrets[4]}@127.0.0.3:1/a.jpg"),
            task(3, f"{image_server.url}/data/upload/1/a.jpg"),
            task(4, "s3://bucket/a.jpg"),
            task(5, f"http://127.0.0.1:1/{'x' * 9000}?{secrets[3]}"),
        ]
        params = {"login": "me", "password": secrets[4], "context": None}
        answer = client.post("/predict", json={"tasks": tasks, "label_config": BRUSH, "params": params})
        assert answer.json()["results"] == [[]] * 5
        texts = [answer.text, client.post("/predict", content=b"{").text, client.get("/metrics").text]
        httpx.get(started.url + "/metrics", headers={"Authorization": f"Token {secrets[0]}"})
        with socket.create_connection(("127.0.0.1", int(started.url.rpartition(":")[2]))) as raw:
            raw.sendall(f"GET / HTTP/1.1\r\nAuthorization Bearer {secrets[0]}\r\n\r\n".encode())
            texts.append(raw.recv(10_000).decode())
    texts.append(started.log.read_text())
    for text in texts:
        assert "Traceback" not in text
        for secret in secrets:
            assert secret not in text
    assert all(line.startswith("20") for line in started.log.read_text().splitlines())
    with_token = [path for path, headers in image_server.seen if secrets[0] in headers.get("Authorization", "")]
    assert set(with_token) <= {"/data/upload/1/a.jpg", "/tasks/4/resolve/?fileuri=czM6Ly9idWNrZXQvYS5qcGc%3D"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"weights": "nosuch.pth"}, "unknown weights 'nosuch.pth'"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used"),
        ({"port": "0"}, "port (MASKBRIDGE_PORT in the environment)"),
        ({"confidence": "2"}, "confidence (MASKBRIDGE_CONFIDENCE in the environment)"),
        ({"label_studio_url": "host:80"}, "Label Studio's address is http(s)"),
        ({"allowed_hosts": "10.0.0.0/99"}, "allowed host '10.0.0.0/99'"),
        ({"basic_auth_user": "me"}, "set together"),
    ],
)
def test_what_stops_the_start(serve: Start, settings: dict[str, str], reason: str) -> None:
    started = serve(**settings)
    assert started.process.wait() == 1
    last = started.log.read_text().splitlines()[-1]
    assert last.startswith("maskbridge: ")
    assert reason in last
    assert "Traceback" not in started.log.read_text()


def test_an_address_that_is_taken(serve: Start, backend: Any) -> None:
    started = serve(port=backend.url.rpartition(":")[2])
    assert started.process.wait() == 1
    assert "could not run on 127.0.0.1" in started.log.read_text().splitlines()[-1]


def test_wsgi_file_of_label_studio_ml(tmp_path: Path) -> None:
    """`label-studio-ml start` runs `python FOLDER/_wsgi.py --port …`; our file serves our app."""
    import maskbridge.backend

    port = free_port()
    folder = Path(maskbridge.backend.__path__[0])
    program = Path(os.sys.executable).with_name("label-studio-ml")  # type: ignore[attr-defined]
    environment = {**os.environ, "MASKBRIDGE_WEIGHTS": "bundled", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "start", str(folder), "--port", str(port), "--log-level", "INFO"],
            env=environment, cwd=tmp_path, start_new_session=True, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        backend = Backend(f"http://127.0.0.1:{port}", process, tmp_path / "log")
        backend.wait_until_ready()
        assert "-bundled-" in httpx.get(f"{backend.url}/versions").json()["versions"][0]
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
