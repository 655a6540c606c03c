"""maskbridge against FiftyOne's own Mask R-CNN: images per second and peak memory of ``dataset.apply_model``.

    uv run python benchmarks/apply_model.py [--engines torch openvino onnxruntime] [--int8 FILE] [--before ../earlier]

The same network weights, the same images, the same objects: about 10 an image above the threshold, out of 100 that the
network detects. FiftyOne's model is its ``TorchImageModel`` with its ``InstanceSegmenterOutputProcessor``, as its model zoo
ships ``mask-rcnn-resnet50-fpn-coco-torch``. Each measurement is a process of its own (so peak memory is its own); they
alternate, and medians and ranges over the rounds are printed. The weights are random with a seed, so nothing is downloaded;
``--bundled`` takes the bundled ones. ``--int8`` names the same weights in int8, of ``maskbridge quantize`` or, for the
ResNet-50, of ``benchmarks/int8.py``. ``--before`` names another checkout with a ``.venv``, measured in the same run.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from maskbridge.adapter import MaskRCNN
from measured import add_time, machine, result_of, spread

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


def network(engine: str, bundled: bool) -> MaskRCNN:
    """The model with an engine, or with weights in int8 where the engine is a file's name."""
    from seeded import LARGE, seeded, with_anchors

    if engine.endswith(".safetensors"):
        model = MaskRCNN(engine, progress=False)
        return model if bundled else with_anchors(model, LARGE)
    if bundled:
        return MaskRCNN("bundled", device="cpu", engine=engine, progress=False)  # type: ignore[arg-type]
    return seeded(BUILDER, anchors=LARGE, frozen=True, engine=engine)  # type: ignore[arg-type]


def threshold_for(images: list[Path], engine: str, bundled: bool) -> float:
    """The confidence threshold with about `OBJECTS` objects an image above it; 0.5 for the bundled weights."""
    if bundled:
        return 0.5
    scores: list[float] = []
    for instances in network(engine, bundled).predict(images):
        scores += instances.scores.tolist()  # type: ignore[union-attr]
    return sorted(scores, reverse=True)[OBJECTS * len(images)]


def fiftyone_model(confidence: float, bundled: bool) -> Any:
    """FiftyOne's own model around torchvision's network, configured as its zoo does."""
    import fiftyone.utils.torch as fout
    import torch

    model = network("torch", bundled)
    config = {
        "model": model.network.to(memory_format=torch.contiguous_format),
        "output_processor_cls": fout.InstanceSegmenterOutputProcessor,
        "classes": list(model.class_names),
        "confidence_thresh": confidence,
    }
    return fout.TorchImageModel(fout.TorchImageModelConfig(config))


def measure(model_name: str, folder: Path, confidence: float, bundled: bool) -> dict[str, float]:
    """Applies a model to a new dataset in this process; speed, memory and objects."""
    import fiftyone as fo
    import torch

    images = sorted(folder.glob("*.jpg"))
    seconds = {"network": 0.0, "decoding": 0.0}
    if model_name == "fiftyone":
        model = fiftyone_model(confidence, bundled)
    else:
        from maskbridge.plugin.model import MaskRCNNModel

        engine = "torch" if model_name == "maskbridge" else model_name
        model = MaskRCNNModel(network(engine, bundled), confidence_threshold=confidence)
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

    add_time(images, "read", seconds, "decoding")
    for step in ("encode", "detect", "segment"):
        add_time(network, step, seconds, "network")


Rows = list[dict[str, float]]


def report(results: dict[str, dict[str, Rows]], thresholds: dict[tuple[str, str], float]) -> str:
    """The table, and the ratios of each engine to FiftyOne's own model and to the checkout before."""
    columns = ("images_per_second", 3), ("peak_mb", 0), ("added_mb", 0), ("objects", 1), ("rest_percent", 1)
    lines = [
        "| images | model | images per second | peak memory, MB | added by applying, MB | objects an image | outside the "
        "network and reading, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for size, rows_of in results.items():
        for name, rows in rows_of.items():
            cells = [spread([row[key] for row in rows], digits) for key, digits in columns]
            lines.append(f"| {size} | {name} | {' | '.join(cells)} |")
    lines.append("")
    for size, rows_of in results.items():
        for name, other in itertools.product(rows_of, ("fiftyone", "before")):
            if other in rows_of and name not in ("fiftyone", "before"):
                pairs = list(zip(rows_of[name], rows_of[other]))
                speed = spread([a["images_per_second"] / b["images_per_second"] for a, b in pairs], 2)
                peak, added = (statistics.median(b[key] / a[key] for a, b in pairs) for key in ("peak_mb", "added_mb"))
                lines.append(
                    f"{size}: {name} is {speed} times as fast as {other}, with 1/{peak:.1f} of the memory (1/{added:.1f} "
                    f"of the memory added to the idle process); threshold {thresholds[size, name]:.3f}."
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--engines", nargs="*", default=["torch"], choices=["torch", "openvino", "onnxruntime"])
    parser.add_argument("--int8", metavar="FILE", help="the same weights in int8")
    parser.add_argument("--bundled", action="store_true", help="the bundled weights instead of a seeded ResNet-50")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout, with PyTorch (not --bundled)")
    parser.add_argument("--images", type=int, help="the number of images of each size, by default 12 and 4")
    parser.add_argument("--markdown", type=Path, help="also write the table into this file")
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "FOLDER", "THRESHOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, folder, threshold = arguments.measure
        print("RESULT " + json.dumps(measure(name, Path(folder), float(threshold), arguments.bundled)))
        return
    from rich.progress import track

    names = [
        *arguments.engines,
        *(["int8"] if arguments.int8 else []),
        *(["before"] if arguments.before else []),
        "fiftyone",
    ]
    results: dict[str, dict[str, Rows]] = {size: {name: [] for name in names} for size in arguments.sizes}
    thresholds: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        make_images(Path(scratch))
        environment = os.environ | {
            "FIFTYONE_DATABASE_DIR": f"{scratch}/db",
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_DATABASE_VALIDATION": "false",
        }
        for size, rows_of in results.items():
            folder = Path(scratch) / size
            images = sorted(folder.glob("*.jpg"))
            for image in images[arguments.images :] if arguments.images else []:
                image.unlink()
            images = sorted(folder.glob("*.jpg"))
            for name in names:
                engine = arguments.int8 if name == "int8" else name if name in arguments.engines else "torch"
                known = [thresholds[size, other] for other in names if (size, other) in thresholds and engine == "torch"]
                thresholds[size, name] = known[0] if known else threshold_for(images, engine, arguments.bundled)
            for name in track(names * arguments.rounds, description=size, transient=True):
                program = [sys.executable, __file__]
                if name == "before":
                    checkout = arguments.before.resolve()
                    program = [f"{checkout}/.venv/bin/python", f"{checkout}/benchmarks/apply_model.py"]
                model_name = {"before": "maskbridge", "torch": "maskbridge", "int8": arguments.int8}.get(name, name)
                command = [*program, "--measure", model_name, str(folder), repr(thresholds[size, name])]
                command += ["--bundled"] if arguments.bundled else []
                rows_of[name].append(json.loads(result_of(command, environment)))
    text = f"{machine()}, {time.strftime('%Y-%m-%d')}, {arguments.rounds} rounds: median (lowest to highest).\n\n"
    text += report(results, thresholds)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
