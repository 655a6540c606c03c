"""A network as an ONNX file of a fixed input size, checked against PyTorch before it is saved."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.errors import MaskbridgeError, SettingsError
from maskbridge.adapter.export.onnx_mask_rcnn import FORMAT, fit
from maskbridge.adapter.images import ImageInput, read
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.pasting import paste

CHECK_IMAGE = Path(__file__).parents[1] / "data" / "astronaut.jpg"
BOX_TOLERANCE = 1e-2
"""Pixels of the input."""
SCORE_TOLERANCE = 1e-4
MASK_TOLERANCE = 1e-3
"""Fraction of a mask's pixels."""
_OUTPUTS = ("boxes", "labels", "scores", "masks")
_OPSET = 17


class ExportError(MaskbridgeError):
    """The ONNX file's results differ from the network's, or it cannot be created."""


@dataclass(frozen=True)
class Check:
    """The largest differences between ONNX Runtime's and PyTorch's results.

    Attributes:
        images: how many were compared.
        objects: how many were compared.
        boxes: in pixels of the input.
        scores: of the confidence scores.
        masks: as a fraction of a mask's pixels.
    """

    images: int
    objects: int
    boxes: float
    scores: float
    masks: float

    @property
    def passed(self) -> bool:
        """Whether all differences are within the tolerances."""
        return self.boxes <= BOX_TOLERANCE and self.scores <= SCORE_TOLERANCE and self.masks <= MASK_TOLERANCE


class _Fixed(nn.Module):
    """A network for images of one size, without torchvision's resizing and pasting: it returns 28 x 28 masks."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(network.transform.image_mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.transform.image_std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        batch = (images - self.mean) / self.std
        sizes = [(images.shape[-2], images.shape[-1])] * images.shape[0]
        listed = ImageList(batch, [(int(height), int(width)) for height, width in sizes])
        levels = self.network.backbone(batch)
        proposals, _ = self.network.rpn(listed, levels)
        detections, _ = self.network.roi_heads(levels, proposals, listed.image_sizes)
        return tuple(image[name] for image in detections for name in _OUTPUTS)


def export(
    model: MaskRCNN,
    path: str | os.PathLike[str],
    *,
    input_size: tuple[int, int] | None = None,
    batch_size: int = 1,
    images: Iterable[ImageInput] = (),
) -> Check:
    """Writes an ONNX file for inputs of one size, and checks it on images with ONNX Runtime first.

    The graph takes ``images``, float32 [batch_size, 3, h, w] in 0..1 (it normalizes them itself), and returns for each
    image ``boxes`` [N, 4] in pixels of the input, ``labels``, ``scores`` and ``masks`` [N, 1, 28, 28]; outputs of images
    after the first have the image's number in their names. Class names and limits are in the metadata, which
    `OnnxMaskRCNN` reads.

    Args:
        model: what to export.
        path: ends in ``.onnx``; the file exists only if the check passed.
        input_size: (h, w), multiples of 32; by default the size that an image of 4:3 is resized to.
        batch_size: images in an input.
        images: more images to check with, besides the bundled image of a person.

    Raises:
        SettingsError: the size or the path is invalid.
        ExportError: the network cannot be exported, no object is detected to check with, or the results differ.

    Source: https://docs.pytorch.org/vision/stable/models.html, "ONNX export" of the detection models.

    Example:
        >>> export(MaskRCNN("bundled", device="cpu"), "model.onnx", input_size=(300, 320))
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: the input's height and width are multiples of 32 from 64 on, not 300 x 320
    """
    path = Path(path)
    height, width = input_size or _default_size(model)
    if path.suffix != ".onnx":
        raise SettingsError(f"{path}: ONNX files end in .onnx")
    if min(height, width) < 64 or height % 32 or width % 32:
        raise SettingsError(f"the input's height and width are multiples of 32 from 64 on, not {height} x {width}")
    if not 1 <= batch_size <= 64:
        raise SettingsError(f"batch_size is a whole number from 1 to 64, not {batch_size!r}")
    if any(value.device.type != "cpu" for value in model.network.parameters()):
        raise SettingsError("export works on the CPU: load the model with device='cpu'")
    fixed = _Fixed(model.network).eval()
    with atomic_write(path) as temporary:
        _write(fixed, temporary, (batch_size, 3, height, width))
        _describe(temporary, model, (height, width), batch_size)
        check = compare(fixed, temporary, [CHECK_IMAGE, *images], input_size=(height, width), batch_size=batch_size)
        if not check.objects:
            raise ExportError("no object was detected in the images to check with: pass images with objects of its classes")
        if not check.passed:
            raise ExportError(
                f"ONNX Runtime's results differ from PyTorch's: boxes by {check.boxes:.3g} px, scores by "
                f"{check.scores:.3g}, masks by {check.masks:.3%} of their pixels; nothing was written"
            )
    return check


def compare(
    fixed: nn.Module, path: Path, images: Sequence[ImageInput], *, input_size: tuple[int, int], batch_size: int
) -> Check:
    """Runs the same padded inputs through PyTorch and ONNX Runtime; objects of a class are matched by IoU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    objects, worst = 0, [0.0, 0.0, 0.0]
    for image in images:
        fitted, _ = fit(read(image), input_size)
        batch = torch.zeros((batch_size, 3, *input_size))
        batch[:, :, : fitted.shape[-2], : fitted.shape[-1]] = fitted
        with torch.no_grad():
            expected = [value.numpy() for value in fixed(batch)]
        outputs = session.run(None, {"images": batch.numpy()})
        for first in range(0, 4 * batch_size, 4):
            objects += len(expected[first])
            differences = _differences(expected[first : first + 4], outputs[first : first + 4], input_size)
            worst = [max(pair) for pair in zip(worst, differences)]
    return Check(len(images), objects, *worst)


def _differences(
    expected: Sequence[np.ndarray], outputs: Sequence[Any], size: tuple[int, int]
) -> tuple[float, float, float]:
    boxes, labels, scores, masks = (torch.from_numpy(np.asarray(value)) for value in expected)
    others = [torch.from_numpy(np.asarray(value)) for value in outputs]
    if len(boxes) != len(others[0]):
        return float("inf"), float("inf"), float("inf")
    if not len(boxes):
        return 0.0, 0.0, 0.0
    same_label = (labels[:, None] == others[1][None]).float()
    # Equal boxes are distinguished by their scores.
    near = box_iou(boxes, others[0]) * same_label - (scores[:, None] - others[2][None]).abs()
    match = near.argmax(dim=1)
    if len(set(match.tolist())) < len(match):
        return float("inf"), float("inf"), float("inf")
    of_masks = []
    for one, other in zip(paste(masks[:, 0], boxes, size, 0.5), paste(others[3][match][:, 0], others[0][match], size, 0.5)):
        pixels = max(one.area, 1)
        of_masks.append(float((one.frame(size) != other.frame(size)).sum()) / pixels)
    return (
        float((boxes - others[0][match]).abs().max()),
        float((scores - others[2][match]).abs().max()),
        max(of_masks),
    )


def _write(fixed: nn.Module, path: Path, shape: tuple[int, int, int, int]) -> None:
    names = [name if image == 0 else f"{name}_{image}" for image in range(shape[0]) for name in _OUTPUTS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: sizes are fixed on purpose
            torch.onnx.export(
                fixed,
                (torch.rand(shape),),
                str(path),
                input_names=["images"],
                output_names=names,
                dynamic_axes={name: {0: f"objects_{name}"} for name in names},
                opset_version=_OPSET,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"the network cannot be exported: {str(error).splitlines()[0]}") from error


def _describe(path: Path, model: MaskRCNN, input_size: tuple[int, int], batch_size: int) -> None:
    import onnx

    graph = onnx.load(str(path))
    heads = model.network.roi_heads
    metadata = {
        "format": FORMAT,
        "class_names": model.class_names,
        "height": input_size[0],
        "width": input_size[1],
        "batch_size": batch_size,
        "builder": model.builder,
        "weights": model.weights_name,
        "fingerprint": model.fingerprint,
        "score_threshold": heads.score_thresh,
        "max_detections": heads.detections_per_img,
        "preprocessing": "RGB in 0..1, scaled bilinearly to fit, top left, padded with 0",
    }
    onnx.helper.set_model_props(graph, {"maskbridge": json.dumps(metadata)})
    onnx.save(graph, str(path))


def _default_size(model: MaskRCNN) -> tuple[int, int]:
    transform = model.network.transform
    if transform.fixed_size is not None:
        width, height = transform.fixed_size
        return -(-height // 32) * 32, -(-width // 32) * 32
    short = transform.min_size[-1]
    long = min(round(short * 4 / 3), transform.max_size)
    return -(-short // 32) * 32, -(-long // 32) * 32
