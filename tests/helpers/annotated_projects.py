"""Projects of a real Label Studio with images of shapes, annotated exactly."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from label_studio_process import LabelStudioProcess
from maskbridge.adapter import Instances
from maskbridge.labelstudio.tags import LabelTag
from shapes import CLASSES, shapes

LABELS = "".join(f'<Label value="{name}"/>' for name in (*CLASSES[1:], "person"))  # what the old model knows
CONFIG = '<View><Image name="image" value="$image"/><{kind} name="label" toName="image">{labels}</{kind}></View>'
PAIRS = shapes(12)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def annotated_project(
    label_studio: LabelStudioProcess,
    kind: type[LabelTag],
    pairs: list[tuple[np.ndarray, Instances]],
    before: Callable[[int], object] = lambda project: None,
) -> int:
    """A project of drawn images, annotated with one tag; ``before`` is called with its number before the first."""
    uploads = [(f"{index:02d}.png", png(image)) for index, (image, _) in enumerate(pairs)]
    project = label_studio.project(CONFIG.format(kind=kind.kind, labels=LABELS), uploads)
    before(project)
    tag = kind("label", "image", {name: name for name in CLASSES[1:]})
    regions = [tag.encode(replace(instances, ids=(f"a{index}", f"b{index}"))) for index, (_, instances) in enumerate(pairs)]
    by_name = {name: result for (name, _), result in zip(uploads, regions)}
    for task in label_studio.tasks(project):
        label_studio.annotate(task["id"], by_name[task["data"]["image"].rpartition("-")[2]])
    return project
