"""The server from its start to its end: settings that stop it, full queues, deadlines, SIGTERM."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend_process import Backend, free_port
from backend_requests import BRUSH, metric, predict, task
from image_server import ImageServer
from waiting import wait_for

Start = Callable[..., Any]


@pytest.mark.engine
def test_the_deadline_and_asking_again(serve: Start, image_server: ImageServer, engine: str) -> None:
    """What is done by the deadline is answered; the rest continues, and is answered immediately when asked for again."""
    started = serve(deadline=6, fetch_threads=8, fetch_seconds=600, engine=engine)
    started.wait_until_ready()
    url, name = image_server.url, f"deadline-{engine}"
    tasks = [task(n, f"{url}/image/{n}?{name}" if n % 2 else f"{url}/held/{name}?{n}") for n in range(8)]

    def without_held() -> list[Any]:
        results = predict(started.url, tasks)
        return results if sum(result != [] for result in results) >= 4 else []

    first = wait_for(without_held)
    assert [n for n, result in enumerate(first) if result != []] == [1, 3, 5, 7]
    assert metric(started.url, "maskbridge_queue_length") == 4
    image_server.release(name)
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
        wait_for(lambda: "stopping: " in started.log.read_text())
        image_server.release("term")
        for future in working:
            results = future.result()
            assert len(results) == 6
            assert all(result != [] for result in results)
    assert started.process.wait() == 0


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
    assert "cannot listen on 127.0.0.1" in started.log.read_text().splitlines()[-1]


def test_wsgi_file_of_label_studio_ml(tmp_path: Path) -> None:
    """`label-studio-ml start` runs `python FOLDER/_wsgi.py --port …`; our file serves our app."""
    port = free_port()
    folder = Path(import_module("maskbridge.backend").__path__[0])
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
