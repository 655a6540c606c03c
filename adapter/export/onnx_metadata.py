"""What an ONNX file says about itself: its inputs, outputs and what belongs between them and an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskbridge.adapter.export.numpy_steps import STEP, Scaling

if TYPE_CHECKING:
    from maskbridge.adapter.mask_rcnn import MaskRCNN

FORMAT = "2"
OUTPUTS = ("boxes", "labels", "scores", "masks")
_FIXED: dict[str, list[int]] = {"boxes": [4], "labels": [], "scores": [], "masks": [1, 28, 28]}

INPUTS = {
    "images": f"float32 [batch, 3, height, width]: RGB in 0..1, not normalized, each image at the top left of its input. "
    f"Height and width are multiples of {STEP}: those of the image, rounded up. What is in the padding does not matter.",
    "sizes": "int64 [batch, 2]: (h, w) of each image in its input, without the padding.",
}
MEANINGS = {
    "boxes": "float32 [objects, 4]: x1, y1, x2, y2 in pixels of the input; for pixels of the image multiply x by W / w, "
    "y by H / h.",
    "labels": "int64 [objects]: indices into class_names; 0 is the background and never given.",
    "scores": "float32 [objects]: 0..1, descending, all above score_threshold.",
    "masks": "float32 [objects, 1, 28, 28]: 0..1, the probability of the object in the 28 x 28 cells of its box.",
}
PREPROCESSING = (
    "Resize the image to (h, w) bilinearly (half-pixel centers, no antialiasing), h = int(H * scale), w = int(W * scale). "
    "With the scaling 'sides': scale = min(limits[0] / min(H, W), limits[1] / max(H, W)); "
    "with 'fit': scale = min(limits[0] / H, limits[1] / W)."
)
PASTING = (
    "Pad the 28 x 28 mask by one cell of 0, scale its box (in pixels of the image) by 30/28 about its center, truncate "
    "the corners to integers, resize the mask bilinearly to the box (x2 - x1 + 1 by y2 - y1 + 1 pixels), and compare with "
    ">= 0.5."
)


def output_names(batch_size: int) -> list[str]:
    """The names of the outputs, image by image; those of images after the first have its index in their names.

    Example:
        >>> output_names(2)
        ['boxes', 'labels', 'scores', 'masks', 'boxes_1', 'labels_1', 'scores_1', 'masks_1']
    """
    return [name if image == 0 else f"{name}_{image}" for image in range(batch_size) for name in OUTPUTS]


def describe(path: Path, model: MaskRCNN, scaling: Scaling, batch_size: int) -> None:
    """Adds names, shapes and descriptions to a file: what ``onnx.load`` and ONNX Runtime's ``get_modelmeta`` show."""
    import onnx

    file = onnx.load(str(path))
    heads = model.network.roi_heads
    metadata = {
        "format": FORMAT,
        "class_names": model.class_names,
        "scaling": scaling.rule,
        "limits": scaling.limits,
        "batch_size": batch_size,
        "builder": model.builder,
        "weights": model.weights_name,
        "fingerprint": model.fingerprint,
        "score_threshold": heads.score_thresh,
        "max_detections": heads.detections_per_img,
        "inputs": INPUTS,
        "outputs": MEANINGS,
        "preprocessing": PREPROCESSING,
        "pasting": PASTING,
    }
    onnx.helper.set_model_props(file, {"maskbridge": json.dumps(metadata)})
    file.doc_string = f"Mask R-CNN ({model.builder}) of maskbridge. {PREPROCESSING} {PASTING}"
    for value in file.graph.input:
        value.doc_string = INPUTS[value.name]
    for index, value in enumerate(file.graph.output):
        name = value.name.split("_")[0]
        value.doc_string = MEANINGS[name]
        _set_shape(value, ["objects" if index < len(OUTPUTS) else f"objects_{index // len(OUTPUTS)}", *_FIXED[name]])
    onnx.save(file, str(path))


def _set_shape(value: Any, dimensions: list[str | int]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for dimension in dimensions:
        if isinstance(dimension, str):
            shape.dim.add().dim_param = dimension
        else:
            shape.dim.add().dim_value = dimension
