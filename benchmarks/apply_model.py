"""maskbridge against FiftyOne's own Mask R-CNN: images per second and peak memory of ``dataset.apply_model``.

    uv run python benchmarks/apply_model.py [--rounds 3] [--markdown FILE]

The same network weights, the same images, the same objects: about 10 an image above the threshold, out of 100 that the
network detects. FiftyOne's model is its ``TorchImageModel`` with its ``InstanceSegmenterOutputProcessor``, as its model zoo
ships ``mask-rcnn-resnet50-fpn-coco-torch``. Each measurement is a process of its own (so peak memory is its own); the two
alternate, and medians and ranges over the rounds are printed. The weights are random with a seed, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import machine, result_of, spread

BUILDER = "maskrcnn_resnet50_fpn"
SIZES = {"640x480": ((640, 480), 12), "4000x3000": ((4000, 3000), 4)}
OBJECTS = 10
SHARED = Path(__file__).resolve().parents[2] / "shared" / "coco-mini" / "images"


def make_images(folder: Path) -> None:
    from PIL import Image

    sources = sorted(SHARED.glob("*.jpg"))
    if not sources:
        import skimage

        sources = [Path(skimage.__file__).parent / "data" / name for name in ("astronaut.png", "chelsea.png", "coffee.png")]
    for name, (size, count) in SIZES.items():
        (folder / name).mkdir()
        for index in range(count):
            image = Image.open(sources[index % len(sources)]).convert("RGB").resize(size, Image.Resampling.BICUBIC)
            image.save(folder / name / f"{index:02}.jpg", quality=92)


def threshold_for(images: list[Path]) -> float:
    """The confidence threshold with about `OBJECTS` objects an image above it."""
    from seeded import LARGE, seeded

    scores: list[float] = []
    for instances in seeded(BUILDER, anchors=LARGE, frozen=True).predict(images):
        scores += instances.scores.tolist()  # type: ignore[union-attr]
    return sorted(scores, reverse=True)[OBJECTS * len(images)]


def fiftyone_model(confidence: float) -> Any:
    """FiftyOne's own model around torchvision's network, configured as its zoo does."""
    import fiftyone.utils.torch as fout
    import torch

    from seeded import LARGE, seeded

    model = seeded(BUILDER, anchors=LARGE, frozen=True)
    config = {
        "model": model.network.to(memory_format=torch.contiguous_format),
        "output_processor_cls": fout.InstanceSegmenterOutputProcessor,
        "classes": list(model.class_names),
        "confidence_thresh": confidence,
    }
    return fout.TorchImageModel(fout.TorchImageModelConfig(config))


def measure(model_name: str, folder: Path, confidence: float) -> dict[str, float]:
    """Applies a model to a new dataset in this process; speed, memory and objects."""
    import fiftyone as fo
    import torch

    from seeded import LARGE, seeded

    images = sorted(folder.glob("*.jpg"))
    seconds = {"network": 0.0, "decoding": 0.0}
    if model_name == "fiftyone":
        model = fiftyone_model(confidence)
    else:
        from maskbridge.plugin.model import MaskRCNNModel

        model = MaskRCNNModel(seeded(BUILDER, anchors=LARGE, frozen=True), confidence_threshold=confidence)
        time_parts(seconds)
    warm_up, dataset = fo.Dataset(), fo.Dataset()
    warm_up.add_samples([fo.Sample(str(images[0]))])
    dataset.add_samples([fo.Sample(str(image)) for image in images])
    options = {
        "label_field": "instances",
        "batch_size": 1,
        "num_workers": 0,
        "progress": False,
    }
    warm_up.apply_model(model, **options)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak, which building the network may have set
    idle = memory("VmRSS")
    seconds.update(network=0.0, decoding=0.0)
    start = time.perf_counter()
    dataset.apply_model(model, **options)
    total = time.perf_counter() - start
    objects = sum(len(labels.detections) for labels in dataset.values("instances"))
    rest = total - seconds["network"] - seconds["decoding"]
    return {
        "images_per_second": len(images) / total,
        "peak_mb": memory("VmHWM"),
        "added_mb": memory("VmHWM") - idle,
        "objects": objects / len(images),
        "rest_percent": 100 * rest / total if model_name != "fiftyone" else float("nan"),
        "threads": torch.get_num_threads(),
    }


def memory(key: str) -> float:
    """Memory of this process in MB: ``VmRSS`` at present, ``VmHWM`` the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def time_parts(seconds: dict[str, float]) -> None:
    """Adds up the time in the network's three steps and in reading images; the rest is maskbridge's and FiftyOne's."""
    from maskbridge.adapter import images, network

    def timed(module: Any, name: str, part: str) -> None:
        function = getattr(module, name)

        def call(*args: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                seconds[part] += time.perf_counter() - start

        setattr(module, name, call)

    timed(images, "read", "decoding")
    for step in ("encode", "detect", "segment"):
        timed(network, step, "network")


def report(results: dict[str, dict[str, list[dict[str, float]]]], threshold: dict[str, float]) -> str:
    def cell(rows: list[dict[str, float]], key: str, digits: int) -> str:
        return spread([row[key] for row in rows], digits)

    lines = ["| images | model | images per second | peak memory, MB | of it added by applying | objects an image |"]
    lines.append("|---|---|---|---|---|---|")
    ratios = []
    for size, rows_of in results.items():
        for model_name, rows in rows_of.items():
            lines.append(
                f"| {size} | {model_name} | {cell(rows, 'images_per_second', 3)} | {cell(rows, 'peak_mb', 0)} | "
                f"{cell(rows, 'added_mb', 0)} | "
                f"{cell(rows, 'objects', 1)} |"
            )
        ours, theirs = rows_of["maskbridge"], rows_of["fiftyone"]
        pairs = list(zip(ours, theirs))
        speed = [a["images_per_second"] / b["images_per_second"] for a, b in pairs]
        peaks = [b["peak_mb"] / a["peak_mb"] for a, b in pairs]
        added = [b["added_mb"] / a["added_mb"] for a, b in pairs]
        ratios.append(
            f"{size}: {statistics.median(speed):.2f} times as fast ({min(speed):.2f} to {max(speed):.2f}), "
            f"1/{statistics.median(peaks):.1f} of the memory (1/{statistics.median(added):.1f} of the memory added to the "
            f"idle process); pasting, converting and writing take "
            f"{cell(ours, 'rest_percent', 1)} % of the time (threshold {threshold[size]:.3f})."
        )
    return "\n".join([*lines, "", *ratios])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--markdown", type=Path, help="also write the table into this file")
    parser.add_argument(
        "--measure",
        nargs=3,
        metavar=("MODEL", "FOLDER", "THRESHOLD"),
        help=argparse.SUPPRESS,
    )
    arguments = parser.parse_args()
    if arguments.measure:
        model_name, folder, threshold = arguments.measure
        print("RESULT " + json.dumps(measure(model_name, Path(folder), float(threshold))))
        return
    from rich.progress import track

    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    thresholds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        make_images(Path(scratch))
        environment = os.environ | {
            "FIFTYONE_DATABASE_DIR": f"{scratch}/db",
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_DATABASE_VALIDATION": "false",
        }
        for size in arguments.sizes:
            folder = Path(scratch) / size
            thresholds[size] = threshold_for(sorted(folder.glob("*.jpg")))
            rows_of = results.setdefault(size, {"maskbridge": [], "fiftyone": []})
            for index in track(range(2 * arguments.rounds), description=size, transient=True):
                model_name = ("maskbridge", "fiftyone")[index % 2]
                command = [
                    sys.executable,
                    __file__,
                    "--measure",
                    model_name,
                    str(folder),
                    repr(thresholds[size]),
                ]
                rows_of[model_name].append(json.loads(result_of(command, environment)))
    text = f"{machine()}, {time.strftime('%Y-%m-%d')}, {arguments.rounds} rounds: median (lowest to highest).\n\n"
    text += report(results, thresholds)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
