"""Load test: 16 clients in parallel on a real server for a minute; no error, no mixed-up response, constant memory.

uv run python benchmarks/load.py --seconds 60
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from backend_process import start_backend
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
        backend.wait_until_ready()
        worker = psutil.Process(backend.process.pid)
        end = time.monotonic() + options.seconds
        memory: list[int] = []

        def client(number: int) -> list[float]:
            label, tag, times = f"label-{number}", TAGS[number % len(TAGS)], []
            config = CONFIG.format(tag=tag.kind, label=label)
            while time.monotonic() < end:
                task_ids = [number + options.clients * (2 * len(times) + k) for k in range(2)]
                tasks = [{"id": n, "data": {"image": f"{server.url}/image/{n}?client={number}"}} for n in task_ids]
                start = time.monotonic()
                body = {"tasks": tasks, "label_config": config, "project": str(number), "params": {}}
                response = httpx.post(f"{backend.url}/predict", json=body, timeout=100)
                times.append(time.monotonic() - start)
                results = response.json()["results"]
                assert len(results) == 2
                for result in results:
                    assert {r["value"][tag.lower()][0] for r in result["result"]} <= {label}, "mixed up"
                if number == 0:
                    memory.append(worker.memory_info().rss >> 20)
            return times

        with ThreadPoolExecutor(options.clients) as pool:
            times = [t for of_client in pool.map(client, range(options.clients)) for t in of_client]
        print(f"{len(times)} requests of 2 tasks by {options.clients} clients, no error, none mixed up")
        print(f"seconds a request: median {statistics.median(times):.2f}, maximum {max(times):.2f}")
        print(f"memory: {memory[len(memory) // 4]} MB after a quarter, {memory[-1]} MB at the end")
        backend.stop()


if __name__ == "__main__":
    main()
