"""The backend against Label Studio's example backends, alternating in one run: tasks per second, run lengths, quick routes.

Label Studio's example backends answer one task at a time: fetch the image, run torchvision's model, paste full frames,
encode each with ``label_studio_sdk.converter.brush``. Here the same network predicts the same images both ways.

    uv run python benchmarks/label_studio.py [--engines torch openvino onnxruntime] [--int8 FILE] [--before ../earlier]

``--int8`` names the same weights in int8, of ``maskbridge quantize``.
``--before`` names another checkout with a ``.venv``, whose server is measured in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from label_studio_sdk.converter import brush
from PIL import Image

from maskbridge.adapter import Instances, MaskRCNN
from maskbridge.adapter.masks import crop_of_frame
from maskbridge.labelstudio.tags import TAGS, rle
from measured import spread

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from backend_process import start_backend  # noqa: E402
from image_server import ImageServer  # noqa: E402

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="person"/></BrushLabels></View>'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", nargs="*", default=["torch"], choices=["torch", "openvino", "onnxruntime"])
    parser.add_argument("--int8", metavar="FILE", help="the same weights in int8")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout")
    options = parser.parse_args()
    with ImageServer(images()) as server:
        tasks_per_second(server, options)
    encode_times(MaskRCNN(options.weights, progress=False))


def images() -> list[Path]:
    """The images of coco-mini if it exists, else those that scikit-image ships."""
    paths = sorted((ROOT.parent / "shared" / "coco-mini" / "images").glob("*.jpg"))[:40]
    if paths:
        return paths
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in ("astronaut.png", "camera.png", "coffee.png", "chelsea.png", "rocket.jpg")]


def tasks_per_second(server: ImageServer, options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        start = partial(start_backend, weights=options.weights, deadline=900)
        backends = {}
        for engine in options.engines:
            (folder / engine).mkdir()
            backends[engine] = start(folder / engine, engine=engine)
        if options.int8:
            (folder / "int8").mkdir()
            backends["int8"] = start_backend(folder / "int8", weights=Path(options.int8).resolve(), deadline=900)
        if options.before:
            (folder / "before").mkdir()
            backends["before"] = start(folder / "before", program=options.before.resolve() / ".venv/bin/maskbridge")
        for backend in backends.values():
            running.callback(backend.stop)
            backend.wait_until_ready()
        ways = {name: partial(_post, f"{backend.url}/predict") for name, backend in backends.items()}
        ways["one by one"] = OneByOne(options.weights).predict
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for index in range(options.rounds + 1):
            for name, predict in ways.items():
                url = f"{server.url}/image/{{}}?round={index}-{name.replace(' ', '-')}"
                tasks = [{"id": n, "data": {"image": url.format(n)}} for n in range(options.tasks)]
                started = time.perf_counter()
                assert len(predict(tasks)) == options.tasks
                if index:  # the first round warms up
                    rates[name].append(options.tasks / (time.perf_counter() - started))
        for name, of_name in rates.items():
            print(f"{name}: {spread(of_name, 2)} tasks per second", flush=True)
        for name, other in itertools.product([*options.engines, "int8"], ("one by one", "before")):
            if name in rates and other in rates:
                print(f"{name} / {other}: {spread([a / b for a, b in zip(rates[name], rates[other])], 2)}", flush=True)
        quick_routes(backends[options.engines[0]].url, server)


def quick_routes(url: str, server: ImageServer) -> None:
    """``/health`` and ``/setup`` while predictions run."""
    tasks = [{"id": n, "data": {"image": f"{server.url}/image/{n}?quick"}} for n in range(60)]
    work = threading.Thread(target=_post, args=(f"{url}/predict", tasks))
    work.start()
    time.sleep(0.5)
    times: dict[str, list[float]] = {"/health": [], "/setup": []}
    while work.is_alive():
        for path, body in (("/health", None), ("/setup", {"project": "1", "schema": CONFIG})):
            start = time.perf_counter()
            request = urllib.request.Request(url + path, data=None if body is None else json.dumps(body).encode())
            urllib.request.urlopen(request, timeout=10).read()
            times[path].append(1000 * (time.perf_counter() - start))
        time.sleep(0.02)
    for path, milliseconds in times.items():
        median, maximum = statistics.median(milliseconds), max(milliseconds)
        print(f"{path} while predictions run: median {median:.1f} ms, maximum {maximum:.1f} ms of {len(milliseconds)}")


class OneByOne:
    """As Label Studio's example backends: torchvision's forward and the SDK's run lengths, one task at a time."""

    def __init__(self, weights: str) -> None:
        model = MaskRCNN(weights, progress=False)
        self._network = model.network.eval().to(memory_format=torch.contiguous_format)  # as torchvision builds it

    def predict(self, tasks: list[dict[str, Any]]) -> list[Any]:
        return [self._one(task) for task in tasks]

    @torch.inference_mode()
    def _one(self, task: dict[str, Any]) -> list[Any]:
        with urllib.request.urlopen(task["data"]["image"]) as response:
            image = Image.open(response).convert("RGB")
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        result = self._network([tensor])[0]
        regions = []
        for score, mask in zip(result["scores"].tolist(), result["masks"][:, 0].numpy()):
            if score > 0.5:
                data = brush.mask2rle((mask >= 0.5).astype(np.uint8) * 255)
                regions.append({"value": {"format": "rle", "rle": data, "brushlabels": ["person"]}, "score": score})
        json.dumps(regions)
        return regions


def encode_times(model: MaskRCNN) -> None:
    """Encodes one predicted mask of 1920 x 1080 with each tag; run lengths are compared with the SDK's."""
    frame = _person(model)
    instances = Instances(frame.shape, [[0, 0, 1920, 1080]], [1], ("_", "person"), [crop_of_frame(frame)], scores=[0.9])
    for kind in TAGS:
        tag = kind("label", "image", {"person": "person"})
        print(f"{kind.kind}: {1000 * _median(lambda tag=tag: tag.encode(instances)):.2f} ms")
    crop = crop_of_frame(frame)
    ratios = []
    for _ in range(9):
        ours = _median(lambda: list(rle.encode(crop, frame.shape)))
        theirs = _median(lambda: brush.mask2rle(frame.astype(np.uint8) * 255))
        ratios.append(theirs / ours)
    print(f"run lengths at 1920 x 1080, a person of {int(frame.sum()):,} pixels: {spread(ratios, 2)} times the SDK's speed")


def _person(model: MaskRCNN) -> np.ndarray:
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / "camera.png") as opened:
        image = opened.convert("RGB").resize((1920, 1080))
    return max(model.predict([image], confidence_threshold=0.3)[0].frames(), key=np.count_nonzero)


def _median(run: Callable[[], Any], times: int = 15) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _post(url: str, tasks: list[dict[str, Any]]) -> list[Any]:
    body = json.dumps({"tasks": tasks, "label_config": CONFIG, "project": "1", "params": {}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=300) as response:
        return list(json.load(response)["results"])


if __name__ == "__main__":
    main()
