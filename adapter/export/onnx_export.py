"""A network as an ONNX file, checked against PyTorch before it is saved."""

from __future__ import annotations

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
from maskbridge.adapter.export.numpy_steps import STEP, Scaling, padded_size, resize
from maskbridge.adapter.export.onnx_metadata import OUTPUTS, describe, output_names
from maskbridge.adapter.images import ImageInput, read
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.pasting import paste

CHECK_IMAGE = Path(__file__).parents[1] / "data" / "astronaut.jpg"
BOX_TOLERANCE = 1e-2
"""Pixels of the input."""
SCORE_TOLERANCE = 1e-4
MASK_TOLERANCE = 1e-3
"""Fraction of a mask's pixels."""
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


class _Exported(nn.Module):
    """The network of the file: without torchvision's resizing and pasting, but with its padding."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(network.transform.image_mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(network.transform.image_std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = torch.arange(images.shape[2], device=images.device) < sizes[:, :1]
        columns = torch.arange(images.shape[3], device=images.device) < sizes[:, 1:]
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        # As in torchvision, the padding is 0 after the normalization.
        batch = torch.where(inside, (images - self.mean) / self.std, 0.0)
        listed = ImageList(batch, [(size[0], size[1]) for size in sizes])
        levels = self.network.backbone(batch)
        proposals, _ = self.network.rpn(listed, levels)
        detections, _ = self.network.roi_heads(levels, proposals, listed.image_sizes)
        return tuple(image[name] for image in detections for name in OUTPUTS)


def check_arguments(
    path: str | os.PathLike[str], *, input_size: tuple[int, int] | None = None, batch_size: int = 1
) -> None:
    """Raises `SettingsError` for arguments of `export` that no network can be exported with.

    Example:
        >>> check_arguments("model.pt")
        Traceback (most recent call last):
        maskbridge.adapter.errors.SettingsError: model.pt: ONNX files end in .onnx
    """
    if Path(path).suffix != ".onnx":
        raise SettingsError(f"{path}: ONNX files end in .onnx")
    if Path(path).is_dir():
        raise SettingsError(f"{path} is a folder: name a file")
    if input_size is not None:
        height, width = input_size
        if min(height, width) < 2 * STEP or height % STEP or width % STEP:
            raise SettingsError(
                f"the input's height and width are multiples of {STEP} from {2 * STEP} on, not {height} x {width}"
            )
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or not 1 <= batch_size <= 64:
        raise SettingsError(f"batch_size is a whole number from 1 to 64, not {batch_size!r}")


def export(
    model: MaskRCNN,
    path: str | os.PathLike[str],
    *,
    input_size: tuple[int, int] | None = None,
    batch_size: int = 1,
    images: Iterable[ImageInput] = (),
) -> Check:
    """Writes an ONNX file, and checks it on images with ONNX Runtime first.

    `docs/onnx.md` describes its inputs and outputs, as its own metadata does; `OnnxMaskRCNN` reads it.

    Args:
        model: what to export.
        path: ends in ``.onnx``; the file exists only if the check passed.
        input_size: (h, w), multiples of 32: images are scaled to fit into it; by default they are scaled as by ``model``.
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
    check_arguments(path, input_size=input_size, batch_size=batch_size)
    if any(value.device.type != "cpu" for value in model.network.parameters()):
        raise SettingsError("export works on the CPU: load the model with device='cpu'")
    scaling = Scaling("fit", input_size) if input_size is not None else _scaling(model)
    exported = _Exported(model.network).eval()
    with atomic_write(path) as temporary:
        _write(exported, temporary, (batch_size, 3, 256, 320))
        describe(temporary, model, scaling, batch_size)
        check = compare(exported, temporary, [CHECK_IMAGE, *images], scaling=scaling, batch_size=batch_size)
        if not check.objects:
            raise ExportError("no object was detected in the images to check with: pass images with objects of its classes")
        if not check.passed:
            raise ExportError(
                f"ONNX Runtime's results differ from PyTorch's: boxes by {check.boxes:.3g} px, scores by "
                f"{check.scores:.3g}, masks by {check.masks:.3%} of their pixels; nothing was written"
            )
    return check


def _scaling(model: MaskRCNN) -> Scaling:
    transform = model.network.transform
    if transform.fixed_size is not None:
        raise SettingsError("this network resizes without keeping the sides' ratio (fixed_size): pass input_size=(h, w)")
    if transform.size_divisible != STEP:
        raise SettingsError(f"this network pads to multiples of {transform.size_divisible}, an ONNX file to {STEP}")
    return Scaling("sides", (transform.min_size[-1], transform.max_size))


def compare(exported: nn.Module, path: Path, images: Sequence[ImageInput], *, scaling: Scaling, batch_size: int) -> Check:
    """Runs the same inputs through PyTorch and ONNX Runtime; objects of a class are matched by IoU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    objects, worst = 0, [0.0, 0.0, 0.0]
    for image in images:
        pixels = read(image).cpu().permute(1, 2, 0).numpy()
        size = scaling.size_of(pixels.shape[:2])
        batch = np.zeros((batch_size, 3, *padded_size(size)), dtype=np.float32)
        batch[:, :, : size[0], : size[1]] = resize(pixels, size)
        sizes = np.tile(np.array(size, dtype=np.int64), (batch_size, 1))
        with torch.no_grad():
            expected = [value.numpy() for value in exported(torch.from_numpy(batch), torch.from_numpy(sizes))]
        outputs = session.run(None, {"images": batch, "sizes": sizes})
        for first in range(0, 4 * batch_size, 4):
            objects += len(expected[first])
            differences = _differences(expected[first : first + 4], outputs[first : first + 4], size)
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


def _write(exported: nn.Module, path: Path, shape: tuple[int, int, int, int]) -> None:
    # Traced with an image smaller than the input, so that nothing takes the two for one.
    sizes = torch.tensor([[shape[2] - 40, shape[3] - 60]] * shape[0])
    names = output_names(shape[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer: the batch size is fixed on purpose
            torch.onnx.export(
                exported,
                (torch.rand(shape), sizes),
                str(path),
                input_names=["images", "sizes"],
                output_names=names,
                dynamic_axes={"images": {2: "height", 3: "width"}} | {name: {0: "objects"} for name in names},
                opset_version=_OPSET,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(f"the network cannot be exported: {str(error).splitlines()[0]}") from error
