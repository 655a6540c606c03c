"""``maskbridge predict`` on many images: interrupted and resumed, and the time and memory of all but the network.

uv run python benchmarks/predictions.py                    # 1,000 images: Ctrl-C, SIGKILL, resumed: identical files
uv run python benchmarks/predictions.py --images 100000 --stand-in   # a stand-in network: the machinery alone
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from maskbridge.adapter import ImageError, Instances, MaskCrop
from maskbridge.adapter.settings import Settings
from maskbridge.cli.places import find_images
from maskbridge.cli.predictions.image_files import image_files
from maskbridge.cli.predictions.run import JOURNAL, PredictionRun

NAMES = ("__background__", "person", "dog")
RESULTS = ("predictions.json", "dataset.json")


class StandIn:
    """A stand-in for the network: three objects in each image, at once."""

    fingerprint = "stand-in"

    def predict_read(self, images: Sequence[torch.Tensor | ImageError], settings: Settings) -> list[Instances | ImageError]:
        return [image if isinstance(image, ImageError) else self._instances(image) for image in images]

    def _instances(self, image: torch.Tensor) -> Instances:
        height, width = image.shape[-2:]
        crop = MaskCrop(2, 2, np.tri(height - 4, width - 4, dtype=bool))
        boxes = [[2, 2, width - 2, height - 2]] * 3
        return Instances((height, width), boxes, [1, 2, 1], NAMES, [crop] * 3, scores=[0.9, 0.8, 0.7])


def make_images(folder: Path, count: int) -> None:
    """Tiny images in folders of a thousand; each is a link to one of sixteen files."""
    rng = np.random.default_rng(0)
    (folder / "files").mkdir(parents=True)
    for index in range(16):
        pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "files" / f"{index}.png")
    for index in range(count):
        link = folder / "images" / f"{index // 1000:03}" / f"{index % 1000:03}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(folder / "files" / f"{index % 16}.png")


def digest(out: Path) -> list[str]:
    return [hashlib.sha256((out / name).read_bytes()).hexdigest()[:12] for name in RESULTS]


def finished(out: Path) -> int:
    journal = out / JOURNAL
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def interrupted(folder: Path, count: int) -> None:
    """Runs the command whole, and in three parts that Ctrl-C and SIGKILL end."""
    command = [sys.executable, "-c", "from maskbridge.cli.main import run; run()", "predict", str(folder / "images")]
    command += ["--weights", "bundled", "--device", "cpu", "-o"]
    started = time.perf_counter()
    subprocess.run([*command, str(folder / "whole")], check=True, capture_output=True)
    print(f"{count} images in {time.perf_counter() - started:.1f} s without an interruption")
    for number, how in enumerate((signal.SIGINT, signal.SIGKILL), start=1):
        process = subprocess.Popen(
            [*command, str(folder / "parts")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while finished(folder / "parts") < number * count // 3 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(how)
        _, errors = process.communicate()
        message = errors.strip().splitlines()[-1] if how == signal.SIGINT else ""
        print(f"{how.name} after {finished(folder / 'parts') - 1} images, exit code {process.returncode} {message}")
    subprocess.run([*command, str(folder / "parts")], check=True, capture_output=True)
    same = digest(folder / "whole") == digest(folder / "parts")
    pictures = [
        sorted(
            (path.relative_to(out).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in out.rglob("*.png")
        )
        for out in (folder / "whole", folder / "parts")
    ]
    print(f"result files identical: {same}; {len(pictures[0])} annotated images identical: {pictures[0] == pictures[1]}")


def machinery(folder: Path, count: int) -> None:
    """Runs `PredictionRun` with the stand-in; memory is the process's highest, before and after."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    images = image_files(find_images(str(folder / "images")).images)
    listed = time.perf_counter() - started
    network: Any = StandIn()
    settings = Settings(confidence_threshold=0.5, mask_threshold=0.5, classes=(False, True, True), max_detections=100)
    run = PredictionRun(network, settings, folder / "out", categories={"person": 1, "dog": 2}, pictures=False)
    tally = run.predict(images, batch_size=8)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum((folder / "out" / name).stat().st_size for name in RESULTS) / 1e6
    print(
        f"stand-in network: {tally.images} images, {tally.objects.total()} objects in {seconds:.1f} s "
        f"({1000 * seconds / count:.2f} ms each, {listed:.1f} s of it listing); files of {size:.0f} MB; "
        f"memory {before:.0f} MB before, {after:.0f} MB at most"
    )
    started = time.perf_counter()
    run.predict(images, batch_size=8)
    print(f"the same again, with nothing left to do: {time.perf_counter() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--stand-in", action="store_true")
    arguments = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs ignore it, and so would the command
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), arguments.images)
        (machinery if arguments.stand_in else interrupted)(Path(folder), arguments.images)


if __name__ == "__main__":
    main()
