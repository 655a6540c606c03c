"""Slow and hostile clients, a request of many tasks, what ends the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend_process import Backend, free_port
from backend_requests import metric, predict, task
from image_server import ImageServer
from waiting import wait_for

Start = Callable[..., Any]
HALF_HEADERS = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Le"
HALF_BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000


@contextlib.contextmanager
def half_sent(backend: Backend, requests: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections on which only a part of a request was sent."""
    with contextlib.ExitStack() as stack:
        port = int(backend.url.rpartition(":")[2])
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for connection in connections:
            connection.sendall(requests)
        yield connections


def test_slow_clients_do_not_silence_the_server(serve: Start, image_server: ImageServer) -> None:
    """More half-sent requests than the server has threads, while all prediction requests that it takes wait."""
    backend = serve(requests_at_once=4, fetch_threads=1, deadline=600, fetch_seconds=600)
    backend.wait_until_ready()
    with (
        half_sent(backend, HALF_HEADERS, 100),
        half_sent(backend, HALF_BODY, 100),
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = [pool.submit(predict, backend.url, [task(n, f"{image_server.url}/held/slow?{n}")]) for n in range(4)]
        wait_for(lambda: metric(backend.url, "maskbridge_queue_length") == 4)
        for _ in range(20):
            assert httpx.get(f"{backend.url}/health", timeout=60).json() == {"status": "UP"}
        assert not any(future.done() for future in waiting)
        image_server.release("slow")
        assert all(future.result()[0] != [] for future in waiting)


def test_what_is_not_sent_in_time_is_closed(tmp_path: Path) -> None:
    """A request that arrives byte by byte, and a silent connection; with short limits, in a server of its own."""
    port = free_port()
    program = f"""
        from flask import Flask
        from maskbridge.backend.settings import ServerSettings
        from maskbridge.backend.web import connections
        connections.REQUEST_SECONDS, connections.SILENT_SECONDS = 3, 6
        connections.Connections(Flask("test"), ServerSettings(port={port}, host="127.0.0.1")).run(lambda: False)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    try:
        with contextlib.ExitStack() as stack:

            def connected() -> socket.socket | None:
                with contextlib.suppress(OSError):
                    return socket.create_connection(("127.0.0.1", port))
                return None

            silent, slow = (stack.enter_context(wait_for(connected, process)) for _ in range(2))
            silent.sendall(HALF_BODY)

            def is_closed() -> bool:
                try:
                    slow.sendall(b"x")
                except OSError:
                    return True
                return False

            wait_for(is_closed, process)
            assert silent.recv(100) == b""
    finally:
        process.kill()
        process.wait()


def test_bodies_that_are_not_received_completely_are_bounded(serve: Start) -> None:
    backend = serve(max_request_megabytes=1)
    backend.wait_until_ready("/health")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"
    with half_sent(backend, head, 8) as connections:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"x" * 990_000)
        wait_for(lambda: "requests that are not received completely have" in backend.log.read_text(), backend.process)
        assert httpx.get(f"{backend.url}/health").status_code == 200


def test_a_client_that_does_not_read_its_answer_holds_no_thread(backend: Any) -> None:
    """More of them than there are threads."""
    body = json.dumps({"tasks": [{}] * 400_000, "label_config": "<View/>"}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    before = metric(backend.url, 'maskbridge_tasks_total{outcome="failed"}')
    with half_sent(backend, head + body, 4):
        wait_for(lambda: metric(backend.url, 'maskbridge_tasks_total{outcome="failed"}') >= before + 1_600_000)
        assert httpx.get(f"{backend.url}/health").status_code == 200


def test_the_deadline_holds_for_many_tasks(serve: Start, image_server: ImageServer) -> None:
    backend = serve(deadline=1, log_level="warning")
    backend.wait_until_ready()
    tasks = [task(n, f"{image_server.url}/image/{n}?many") for n in range(100_000)]
    results = predict(backend.url, tasks)
    done = sum(result != [] for result in results)
    outcomes = {
        name: metric(backend.url, f'maskbridge_tasks_total{{outcome="{name}"}}') for name in ("later", "queue_full")
    }
    assert done + sum(outcomes.values()) == 100_000
    assert "100000 tasks" in backend.log.read_text() or outcomes["later"] <= 2000, "what was not looked at is logged"


def test_the_log_never_shows_data(backend: Any) -> None:
    values = [
        "/9j/4AAQSkZJRgABAQAASABIAAD" * 300,
        "iVBORw0KGgoAAAANSUhEUgAAAAUA" * 300,
        "Mrs. Smith, born 1961",
        ["secret"],
        {"a": "b"},
        5.5,
    ]
    assert predict(backend.url, [task(n, value) for n, value in enumerate(values)]) == [[]] * len(values)
    log = backend.log.read_text()
    for part in ("4AAQSkZ", "iVBORw0", "Smith", "secret"):
        assert part not in log
    assert "a text of 8,100 characters" in log
    for kind in ("an object", "a number"):
        assert f"the task's data has {kind} where an image's address is expected" in log


def test_a_thread_that_dies_ends_the_server(tmp_path: Path, quick: Path) -> None:
    """The process ends with an error, for whatever restarts it."""
    program = """
        from maskbridge.backend.inference.image_jobs import ImageJobs
        from maskbridge.backend.settings import server_settings
        from maskbridge.backend.web.serving import serve
        def fail(self, *arguments):
            raise MemoryError("none left")
        ImageJobs._fail = fail
        serve(server_settings())
    """
    port = free_port()
    environment = {**os.environ, "MASKBRIDGE_WEIGHTS": str(quick), "MASKBRIDGE_PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    backend = Backend(f"http://127.0.0.1:{port}", process, tmp_path / "log")
    backend.wait_until_ready()
    with contextlib.suppress(httpx.TransportError):
        predict(backend.url, [task(1, "/etc/passwd")])
    assert process.wait() == 1
    assert "a thread of the server died: MemoryError: none left" in backend.log.read_text().splitlines()[-1]
    assert "Traceback" not in backend.log.read_text()


def test_a_second_signal_ends_it_at_once(serve: Start, image_server: ImageServer) -> None:
    backend = serve(deadline=600, fetch_seconds=600)
    backend.wait_until_ready()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(predict, backend.url, [task(1, f"{image_server.url}/held/never")])
        wait_for(lambda: metric(backend.url, "maskbridge_queue_length") == 1)
        backend.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: " in backend.log.read_text(), backend.process)
        backend.process.send_signal(signal.SIGTERM)
        assert backend.process.wait() == 1
        with pytest.raises(httpx.TransportError):
            waiting.result()
    image_server.release("never")
