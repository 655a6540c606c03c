"""Slow clients: half-sent requests, while all prediction requests that the server takes wait for their deadline.

uv run python benchmarks/slow_clients.py [--headers 1000] [--bodies 200]

Prints how long `/health` takes, the server's memory, when the half-sent requests are closed, and whether all requests that
were accepted are answered after SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import select
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from backend_process import Backend, start_backend
from backend_requests import metric, predict, task
from image_server import ImageServer
from label_studio import images
from measured import machine

REQUESTS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headers", type=int, default=1000)
    parser.add_argument("--bodies", type=int, default=200)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    print(machine())
    with ImageServer(images()) as server, tempfile.TemporaryDirectory() as folder:
        backend = start_backend(Path(folder), requests_at_once=REQUESTS, deadline=90, fetch_seconds=3600, fetch_threads=4)
        try:
            backend.wait_until_ready()
            measure(backend, server, options.headers, options.bodies)
        finally:
            backend.process.kill()


def measure(backend: Backend, server: ImageServer, headers: int, bodies: int) -> None:
    process, port = psutil.Process(backend.process.pid), int(backend.url.rpartition(":")[2])
    print(f"memory before: {process.memory_info().rss >> 20} MB")
    with ThreadPoolExecutor(REQUESTS) as pool, contextlib.ExitStack() as stack:
        waiting = [
            pool.submit(predict, backend.url, [task(n, f"{server.url}/image/{n}"), task(n, f"{server.url}/held/x?{n}")])
            for n in range(REQUESTS)
        ]
        while metric(backend.url, "maskbridge_queue_length") < REQUESTS:
            time.sleep(0.1)
        heads = [b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Le"] * headers
        halves = [b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 9000] * bodies
        connections = []
        for data in heads + halves:
            connections.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            connections[-1].sendall(data)
        began = time.monotonic()
        times, memory = ask_health(backend, process, seconds=20)
        print(
            f"/health with {headers} half headers, {bodies} half bodies, {REQUESTS} waiting requests: "
            f"median {statistics.median(times):.3f} s, worst {max(times):.3f} s of {len(times)}"
        )
        print(f"memory meanwhile: {min(memory)} to {max(memory)} MB")
        while len(select_closed(connections)) < len(connections):
            time.sleep(0.5)
        print(f"all half-sent requests closed after {time.monotonic() - began:.0f} s")
        backend.process.send_signal(signal.SIGTERM)
        threading.Timer(2, server.release, ["x"]).start()
        answered = [future.result() for future in waiting]
        code = backend.process.wait()
        print(f"after SIGTERM {len(answered)} of {REQUESTS} accepted requests were answered, with code {code}")
        complete = sum(result != [] for results in answered for result in results)
        print(f"{complete} of {2 * REQUESTS} tasks have a prediction")


def ask_health(backend: Backend, process: psutil.Process, *, seconds: float) -> tuple[list[float], list[int]]:
    """Seconds of each answer of ``/health``, on a new connection each as Label Studio asks, and memory in MB."""
    times, memory, end = [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        assert httpx.get(f"{backend.url}/health", timeout=60).status_code == 200
        times.append(time.perf_counter() - start)
        memory.append(process.memory_info().rss >> 20)
        time.sleep(0.05)
    return times, memory


def select_closed(connections: list[socket.socket]) -> list[socket.socket]:
    """The connections that the server has closed."""
    poll = select.poll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.POLLIN | select.POLLHUP)
    return [by_number[number] for number, _ in poll.poll(0)]


if __name__ == "__main__":
    main()
