"""Soak test: ``segment_instances`` on many samples in a real App server; its memory, response times and messages.

    uv run python benchmarks/soak.py [--samples 2000]

Executes the operator over HTTP as the App's page does, with the bundled weights on small images, and requests a page of the
server every second. Prints the server's memory along the run; exits with 1 if it grew by more than 5 % after the first
hundred samples.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

URI = "@maskbridge/maskbridge/segment_instances"
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    count = parser.parse_args().samples
    scratch = Path(tempfile.mkdtemp(prefix="maskbridge-soak-"))
    (scratch / "plugins").mkdir()
    (scratch / "plugins" / "maskbridge").symlink_to(ROOT)
    os.environ.update(
        FIFTYONE_DATABASE_DIR=str(scratch / "db"),
        FIFTYONE_PLUGINS_DIR=str(scratch / "plugins"),
        FIFTYONE_DO_NOT_TRACK="true",
        FIFTYONE_DATABASE_VALIDATION="false",
    )
    import fiftyone as fo
    import psutil
    import skimage
    from PIL import Image

    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    for index in range(count):
        astronaut.resize((200 + index % 60, 150 + index % 40)).save(scratch / f"{index:05}.jpg")
    dataset = fo.Dataset("soak")
    dataset.add_samples([fo.Sample(str(path)) for path in sorted(scratch.glob("*.jpg"))], progress=False)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    session = fo.launch_app(dataset, remote=True, port=port)
    time.sleep(5)
    listening = (c.pid for c in psutil.net_connections("inet") if c.laddr.port == port and c.status == psutil.CONN_LISTEN)
    server = psutil.Process(next(listening))
    durations: list[float] = []
    finished = threading.Event()

    def poll() -> None:
        while not finished.wait(1):
            start = time.perf_counter()
            urllib.request.urlopen(f"http://localhost:{port}/plugins", timeout=60).read()
            durations.append(time.perf_counter() - start)

    threading.Thread(target=poll, daemon=True).start()
    body = {
        "operator_uri": URI,
        "dataset_name": dataset.name,
        "params": {"weights": "bundled", "label_field": "predicted"},
    }
    request = urllib.request.Request(
        f"http://localhost:{port}/operators/execute/generator",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    memory: list[tuple[int, float]] = []
    messages, start = 0, time.monotonic()
    with urllib.request.urlopen(request, timeout=600) as stream:
        for _ in stream:
            messages += 1
            if messages % max(count // 20, 1) == 0:
                memory.append((messages, server.memory_info().rss / 2**20))
                print(f"{messages} messages, {memory[-1][1]:.0f} MB", flush=True)
    finished.set()
    seconds = time.monotonic() - start
    dataset.reload()
    first = next(value for done, value in memory if done >= 100)
    growth = 100 * (memory[-1][1] / first - 1)
    print(
        f"{dataset.count('predicted')} of {count} samples in {seconds:.0f} s, {messages} messages; memory {first:.0f} MB "
        f"after the first hundred, {memory[-1][1]:.0f} MB at the end ({growth:+.1f} %); the server responded "
        f"{len(durations)} times meanwhile, median {statistics.median(durations):.2f} s, maximum {max(durations):.2f} s"
    )
    session.close()
    for image in scratch.glob("*.jpg"):  # the database is still in use
        image.unlink()
    sys.exit(int(growth > 5))


if __name__ == "__main__":
    main()
