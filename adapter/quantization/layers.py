"""A trunk and RPN head in int8, by NNCF's post-training quantization. Needs the extra ``quantize``.

Which layers stay in float32 decides about speed and loss; the bundled network, for one, loses most in its backbone.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import openvino as ov

from maskbridge.adapter.engines import openvino_engine  # noqa: F401 before nncf, which then sends no telemetry

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # NNCF looks for a compiler for GPUs
import nncf  # noqa: E402

T = TypeVar("T")
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_PARTS = {"backbone": "__module.backbone.body.", "FPN": "__module.backbone.fpn.", "RPN head": "__module.head."}

CALIBRATION_IMAGES = 64
MORE_IMAGES = 200


@dataclass(frozen=True)
class Layer:
    """A convolution of a trunk.

    Attributes:
        name: in OpenVINO's model.
        part: ``backbone``, ``FPN`` or ``RPN head``.
        depth: in the backbone, 0 for the first to 1 for the last.
        kernel: its width in pixels.
        multiplications: for an input of 256 x 256 pixels.
    """

    name: str
    part: str
    depth: float
    kernel: int
    multiplications: int


@dataclass(frozen=True)
class Candidate:
    """A choice of layers.

    Attributes:
        layers: those in int8, in words.
        in_int8: whether a layer is in int8.
        images: the maximum number of images to calibrate with.
        accuracy_control: whether NNCF searches for further layers to leave in float32.
    """

    layers: str
    in_int8: Callable[[Layer], bool]
    images: int = CALIBRATION_IMAGES
    accuracy_control: bool = False


_CHOICES = (
    Candidate("all", lambda layer: True),
    Candidate("all but RPN head", lambda layer: layer.part != "RPN head"),
    Candidate("backbone", lambda layer: layer.part == "backbone"),
    Candidate("all but first and last", lambda layer: not _at_an_end(layer)),
    Candidate("half of backbone, FPN, RPN head", lambda layer: layer.depth >= 0.5),
    Candidate("FPN, RPN head", lambda layer: layer.part != "backbone"),
    Candidate("3 x 3 of FPN, RPN head", lambda layer: layer.part != "backbone" and layer.kernel > 1),
)


def _at_an_end(layer: Layer) -> bool:
    return layer.depth == 0 or (layer.part == "RPN head" and layer.kernel == 1)


def candidates(layers: Sequence[Layer]) -> list[Candidate]:
    """The choices to try: those with the most multiplications in int8 first, then with more images or accuracy control."""

    def in_int8(candidate: Candidate) -> int:
        return sum(layer.multiplications for layer in layers if candidate.in_int8(layer))

    choices = sorted(_CHOICES, key=in_int8, reverse=True)
    more = replace(choices[-1], layers=f"{choices[-1].layers}, more images", images=MORE_IMAGES)
    every = lambda layer: True  # noqa: E731
    return [*choices, more, Candidate("accuracy control", every, MORE_IMAGES, accuracy_control=True)]


def layers_of(trunk: ov.Model) -> list[Layer]:
    """The convolutions of a converted trunk, in their order."""
    fixed = trunk.clone()
    fixed.reshape([1, 3, 256, 256])
    nodes = [node for node in fixed.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS]
    backbone = [node.get_friendly_name() for node in nodes if _part(node.get_friendly_name()) == "backbone"]
    result = []
    for node in nodes:
        name, kernel = node.get_friendly_name(), tuple(node.input(1).get_shape())
        part = _part(name)
        depth = backbone.index(name) / max(len(backbone) - 1, 1) if part == "backbone" else 1.0
        # [out, in, h, w], or [groups, out / groups, in / groups, h, w]
        multiplications = math.prod(node.output(0).get_shape()) * math.prod(kernel[-3:])
        result.append(Layer(name, part, depth, kernel[-1], multiplications))
    return result


def _part(name: str) -> str:
    return next((part for part, prefix in _PARTS.items() if name.startswith(prefix)), "backbone")


def evenly(items: Sequence[T], count: int) -> Sequence[T]:
    """At most ``count`` items, from all over a sequence.

    Example:
        >>> evenly("abcdefgh", 3)
        'adg'
    """
    if len(items) <= count:
        return items
    return items[:: -(-len(items) // count)]


def quantize_trunk(
    trunk: ov.Model,
    layers: Sequence[Layer],
    candidate: Candidate,
    images: Sequence[int],
    batch_of: Callable[[int], np.ndarray],
    accuracy: Callable[[ov.CompiledModel, Iterable[int]], float],
) -> ov.Model:
    """Quantizes a converted trunk (`maskbridge.adapter.engines.openvino_engine.convert`), which is not changed.

    Args:
        trunk: trunk and RPN head in float32.
        layers: from `layers_of`.
        candidate: what to quantize.
        images: indices of the images to calibrate with.
        batch_of: the network's input for an image, float32 [1, 3, h, w].
        accuracy: of a compiled trunk on images: 0 without loss, -1 at the limit. Only accuracy control calls it.
    """
    calibration = nncf.Dataset(list(evenly(images, candidate.images)), batch_of)
    # NNCF's exact correction is slow with many layers. On coco-mini it brings 0.954 instead of 0.943 of mask IoU.
    few = not any(candidate.in_int8(layer) for layer in layers if layer.part == "backbone")
    options: dict[str, Any] = {
        "fast_bias_correction": not few,
        "preset": nncf.QuantizationPreset.MIXED,
        "subset_size": candidate.images,
    }
    if names := [layer.name for layer in layers if not candidate.in_int8(layer)]:
        options["ignored_scope"] = nncf.IgnoredScope(names=names)
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF's own progress bars
        if not candidate.accuracy_control:
            return nncf.quantize(trunk, calibration, **options)
        return nncf.quantize_with_accuracy_control(
            trunk, calibration, nncf.Dataset(list(images), batch_of), accuracy, max_drop=1.0, **options
        )
