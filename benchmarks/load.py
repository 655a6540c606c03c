"""Load test: 16 clients in parallel on a real server for a minute; no error, no mixed-up response, constant memory.

uv run python benchmarks/load.py --seconds 60
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from backend_process import Backend, start_backend
from image_server import ImageServer
from label_studio import images
from maskbridge.labelstudio.tags import TAGS

CONFIG = (
    '<View><Image name="image" value="$image"/><{tag} name="label" toName="image">'
    '<Label value="{label}" predicted_values="person"/></{tag}></View>'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with ImageServer(images()) as server, tempfile.TemporaryDirectory() as folder:
        backend = start_backend(Path(folder), log_level="warning")
        try:
            backend.wait_until_ready()
            measure(backend, server.url, seconds=options.seconds, clients=options.clients)
        finally:
            backend.stop()


def measure(backend: Backend, images_url: str, *, seconds: float, clients: int) -> None:
    """Requests predictions for ``seconds``; each client has its own label, tag and images, and checks what it gets."""
    process = psutil.Process(backend.process.pid)
    end = time.monotonic() + seconds
    memory: list[int] = []
    later = itertools.count()

    def client(number: int) -> list[float]:
        label, tag, times = f"label-{number}", TAGS[number % len(TAGS)], []
        config = CONFIG.format(tag=tag.kind, label=label)
        while time.monotonic() < end:
            task_ids = [number + clients * (2 * len(times) + k) for k in range(2)]
            tasks = [{"id": n, "data": {"image": f"{images_url}/image/{n}?client={number}"}} for n in task_ids]
            start = time.monotonic()
            body = {"tasks": tasks, "label_config": config, "project": str(number), "params": {}}
            response = httpx.post(f"{backend.url}/predict", json=body, timeout=100)
            times.append(time.monotonic() - start)
            assert response.status_code == 200, response.text
            results = response.json()["results"]
            assert len(results) == 2
            for result in results:
                if result == []:  # not done at the deadline, or the queue is full
                    next(later)
                    continue
                assert {region["value"][tag.kind.lower()][0] for region in result["result"]} <= {label}, "mixed up"
            if number == 0:
                memory.append(process.memory_info().rss >> 20)
        return times

    with ThreadPoolExecutor(clients) as pool:
        times = [t for of_client in pool.map(client, range(clients)) for t in of_client]
    failures = httpx.get(f"{backend.url}/failures").json()["failures"]
    print(f"{len(times)} requests of 2 tasks by {clients} clients, none mixed up, {len(failures)} failed images")
    print(f"{next(later)} tasks without a prediction yet")
    print(f"seconds a request: median {statistics.median(times):.2f}, maximum {max(times):.2f}")
    print(f"memory: {memory[len(memory) // 4]} MB after a quarter, {memory[-1]} MB at the end")


if __name__ == "__main__":
    main()
