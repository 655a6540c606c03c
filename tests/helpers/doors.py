"""Every door of the package: commands, places and public names, each with the extras that it needs.

Run in an environment that has only some extras, it prints what each door answers, as JSON. Imports nothing but the package.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

EXTRAS = ("fiftyone", "labelstudio", "train", "onnx", "openvino", "quantize", "heif", "supervision")
OUT = "out"


def _command(*arguments: str) -> Callable[[], None]:
    """A command, run in this process; what it prints on standard error is its answer."""

    def door() -> None:
        from maskbridge.cli.main import run

        errors = io.StringIO()
        sys.argv = ["maskbridge", *arguments]
        try:
            with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                run()
        except SystemExit as end:
            if end.code not in (0, None, 3):
                raise RuntimeError(errors.getvalue().strip() or f"exit code {end.code}") from None

    return door


def _name(statement: str) -> Callable[[], None]:
    return lambda: exec(statement, {})


BUNDLED = ("--weights", "bundled")
DOORS: dict[str, tuple[set[str], Callable[[], None]]] = {
    "demo": ({"fiftyone"}, _command("demo", "-o", OUT)),
    "check labels.json": (set(), _command("check", "labels.json")),
    "check export.json": ({"labelstudio"}, _command("check", "export.json")),
    "check fiftyone:": ({"fiftyone"}, _command("check", "fiftyone:nosuch")),
    "check label-studio:": ({"labelstudio"}, _command("check", "label-studio:1")),
    "predict": (set(), _command("predict", "images", "-o", f"{OUT}/predicted", *BUNDLED)),
    "predict fiftyone:": ({"fiftyone"}, _command("predict", "fiftyone:nosuch", "-o", OUT, *BUNDLED)),
    "predict label-studio:": ({"labelstudio"}, _command("predict", "label-studio:1", "-o", OUT, *BUNDLED)),
    "train": ({"train"}, _command("train", "labels.json", "-o", OUT, *BUNDLED, "--epochs", "1")),
    "train fiftyone:": ({"train", "fiftyone"}, _command("train", "fiftyone:nosuch", "-o", OUT, *BUNDLED)),
    "evaluate": ({"train"}, _command("evaluate", "labels.json", "-o", OUT, *BUNDLED)),
    "evaluate fiftyone:": ({"train", "fiftyone"}, _command("evaluate", "fiftyone:nosuch", "-o", OUT, *BUNDLED)),
    "export": ({"onnx"}, _command("export", *BUNDLED, "-o", "model.onnx", "--height", "64", "--width", "64")),
    "quantize": ({"quantize"}, _command("quantize", "labels.json", "-o", f"{OUT}/int8.safetensors", *BUNDLED)),
    "serve": ({"labelstudio"}, _command("serve", "--port", "99999")),
    "MaskRCNN": (set(), _name("from maskbridge.adapter import MaskRCNN; MaskRCNN('bundled').predict(['images/a.jpg'])")),
    "train()": ({"train"}, _name("from maskbridge.adapter import train")),
    "OnnxMaskRCNN": ({"onnx"}, _name("from maskbridge.adapter import OnnxMaskRCNN; OnnxMaskRCNN('nosuch.onnx')")),
    "MaskRCNNModel": ({"fiftyone"}, _name("from maskbridge.plugin import MaskRCNNModel; MaskRCNNModel('bundled')")),
    "plugin.labels": ({"fiftyone"}, _name("from maskbridge.plugin.labels import from_detections")),
    "make_plan": ({"labelstudio"}, _name("from maskbridge.labelstudio import make_plan")),
    "read_export": ({"labelstudio"}, _name("from maskbridge.labelstudio import read_export; read_export('export.json')")),
    "MaskRCNNBackend": ({"labelstudio", "label-studio-ml"}, _name("from maskbridge.backend import MaskRCNNBackend")),
    "openvino": (
        {"openvino"},
        _name("from maskbridge.adapter import MaskRCNN; print(MaskRCNN('bundled', engine='openvino', progress=False))"),
    ),
    "to_supervision": (
        {"supervision"},
        _name("from maskbridge.adapter import Instances; Instances.empty((9, 9), ['__background__']).to_supervision()"),
    ),
    "a HEIC image": ({"heif"}, _name("from maskbridge.adapter.images import read; read('images/a.heic')")),
}
"""By its name: the extras that it needs, and the door. With them it works, or fails for another reason."""


def answers() -> dict[str, str]:
    """What each door answers: nothing if it worked, else its message."""
    result = {}
    for name, (_, door) in DOORS.items():
        try:
            door()
        except Exception as error:
            result[name] = f"{type(error).__name__}: {error}"
        else:
            result[name] = ""
    return result


def problems(given: dict[str, str], extras: set[str]) -> list[str]:
    """What is wrong with the answers in an environment that has these extras."""
    wrong = []
    for name, (needed, _) in DOORS.items():
        answer, missing = given[name], needed - extras
        if extras & {"fiftyone", "supervision"} and name.startswith("evaluate"):
            missing = missing - {"train"}  # it needs matplotlib only, which these bring
        if "quantize" in extras and name == "openvino":
            missing = missing - {"openvino"}  # which it brings
        if "supervision" in extras and name == "make_plan":
            missing = missing - {"labelstudio"}  # it needs defusedxml only
        named = any(re.search(rf"pip install .*\[{extra}\]", answer) for extra in missing) or (
            "label-studio-ml" in missing and "which is not installed" in answer
        )
        if missing and not (named and "\n" not in answer):
            wrong.append(f"{name} lacks {sorted(missing)} and answers {answer!r}")
        if not missing and ("pip install" in answer or "ModuleNotFoundError" in answer):
            wrong.append(f"{name} has all that it needs and answers {answer!r}")
    return wrong


def main() -> None:
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("images").mkdir()
        Image.new("RGB", (80, 60)).save("images/a.jpg")
        Path("images/a.heic").write_bytes(b"\0\0\0\x18ftypheic")
        image = {"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}
        outline = {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[9, 9, 60, 9, 60, 50]],
            "bbox": [9, 9, 51, 41],
        }
        labels = {"images": [image], "annotations": [outline], "categories": [{"id": 1, "name": "person"}]}
        Path("labels.json").write_text(json.dumps(labels))
        Path("export.json").write_text("[]")
        print("\n" + json.dumps(answers()))


if __name__ == "__main__":
    main()
