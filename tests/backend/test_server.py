"""The server as people run it: when it is ready, who may ask, odd requests, secrets."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backend_requests import BRUSH, task
from image_server import ImageServer

Start = Callable[..., Any]

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
        versions = {"versions": [version], "engine": "torch", "precision": "float32"}
        assert client.get("/versions").json() == client.post("/versions", json={}).json() == versions
        assert client.get("/ready").json() == {"status": "READY", "model_version": version}
    log = guarded.log.read_text()
    assert "setting basic_auth_user = me" in log
    assert "setting label_studio_token = **********" in log


def test_basic_auth_guards_all_but_health(guarded: Any) -> None:
    guarded.wait_until_ready(auth=("me", SECRETS[1]))
    for path in ("/", "/failures", "/ready", "/setup", "/predict", "/webhook", "/versions", "/metrics"):
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
