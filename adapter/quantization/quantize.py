"""Weights in int8 whose loss is measured, and within a limit."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import openvino as ov

from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset, SkippedImage
from maskbridge.adapter.engines import openvino_engine
from maskbridge.adapter.engines.choosing import choose
from maskbridge.adapter.engines.graphs import Graph, GraphEngine, parts_of
from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.images import ImageInput, read
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.network import input_batch
from maskbridge.adapter.quantization.agreement import compare
from maskbridge.adapter.quantization.layers import Candidate, Layer, candidates, evenly, layers_of, quantize_trunk
from maskbridge.adapter.quantization.predictions import Predictions, predict_all
from maskbridge.adapter.weights.checkpoints import Weights
from maskbridge.adapter.weights.quantized import Loss, Quantized

MIN_IMAGES = 8
"""With fewer, neither the ranges of the layers' values nor the loss are known."""
MIN_OBJECTS = 8
MIN_MASK_IOU = 0.95
MAX_CHANGED = 0.05
"""The largest share of objects lost, and of objects gained, without labels."""

Step: TypeAlias = tuple[str, int]
"""What is being done, and how many images are done."""


@dataclass(frozen=True)
class Trial:
    """A choice of layers that was tried.

    Attributes:
        layers: those in int8.
        loss: against float32.
        seconds: for an image, the median.
        passed: whether the loss is within the limit.
    """

    layers: str
    loss: Loss
    seconds: float
    passed: bool


@dataclass(frozen=True)
class Report:
    """What was tried.

    Attributes:
        limit: in words.
        images: how many were used.
        seconds: for an image in float32, the median.
        ap: of float32, as a fraction; None without labels.
        trials: in their order.
        weights: with the layers in int8 of the trial that passed; None if none did.
        skipped_images: images that cannot be used.
    """

    limit: str
    images: int
    seconds: float
    ap: float | None
    trials: tuple[Trial, ...]
    weights: Weights | None = field(repr=False)
    skipped_images: tuple[SkippedImage, ...]


def quantize(
    model: MaskRCNN, images: LabeledDataset | Sequence[ImageInput], *, max_drop: float = 0.5, max_images: int = 300
) -> Generator[Step, None, Report]:
    """Tries which layers can be in int8, the fastest choice first, until the loss is within the limit.

    The images are calibrated with and measured on. Masks must agree with those of float32 at confidence 0.5: a mean IoU of
    0.95 or more. With labels, at most ``max_drop`` points of AP may be lost (of masks; of boxes where labels have no
    masks); without, at most 5 % of the objects may be lost, and 5 % gained.

    Args:
        model: the model in float32, on a CPU.
        images: labeled images, or images alone.
        max_drop: points of AP that may be lost, 0 to 100.
        max_images: the maximum number of images to use, from all over the list.

    Raises:
        SettingsError: the model is not in float32 on a CPU, the processor has no instructions for int8, or ``max_drop`` is
            out of range.
        DataError: there are too few images or objects, or no label is of a class of the model.
    """
    if model.engine.precision != "float32" or model.device.type != "cpu":
        raise SettingsError(f"a model in float32 on a CPU is quantized, not {model!r}")
    if not 0 <= max_drop <= 100:
        raise SettingsError(f"max_drop is a number of points of AP from 0 to 100, not {max_drop!r}")
    choose("openvino", "cpu", "int8")
    labels: LabeledDataset | None = None
    if isinstance(images, LabeledDataset):
        labels = replace(images, images=tuple(evenly(images.images, max_images)))
        inputs: Sequence[ImageInput] = [image.image for image in labels]
    else:
        inputs = evenly(images, max_images)
    if len(inputs) < MIN_IMAGES:
        raise DataError(f"{len(inputs)} images are too few to calibrate and to measure the loss: {MIN_IMAGES} or more")
    expected = yield from _named("float32", predict_all(model, inputs, labels))
    if len(expected.predicted) < MIN_IMAGES:
        raise DataError(f"only {len(expected.predicted)} of {len(inputs)} images can be used: {MIN_IMAGES} or more")
    if (objects := loss_of(expected, expected).objects) < MIN_OBJECTS:
        raise DataError(f"the model detects {objects} objects in these images, too few to compare: {MIN_OBJECTS} or more")
    search = _Search(model, inputs, labels, expected, max_drop)
    trials: list[Trial] = []
    weights: Weights | None = None
    limit = limit_text(max_drop if labels is not None else None)
    layers = layers_of(search.trunk)
    for candidate in candidates(layers):
        trunk = yield from search.quantized(layers, candidate)
        changed = search.model_with(openvino_engine.compiled(trunk, 1, "int8"))
        result = yield from _named(candidate.layers, predict_all(changed, inputs, labels))
        loss = loss_of(expected, result)
        trials.append(Trial(candidate.layers, loss, result.seconds, share_of_limit(loss, max_drop) <= 1))
        if trials[-1].passed:
            graphs = {"trunk": openvino_engine.to_bytes(trunk), "mask_head": openvino_engine.to_bytes(search.mask_head)}
            weights = replace(model.weights, quantized=Quantized(graphs, candidate.layers, limit, loss))
            break
    return Report(limit, len(inputs), expected.seconds, expected.ap, tuple(trials), weights, expected.skipped)


def limit_text(max_drop: float | None) -> str:
    """The limit in words; None without labels.

    Example:
        >>> limit_text(0.5)
        'at most 0.5 points of AP lost, a mean mask IoU of 0.95 or more'
    """
    iou = f"a mean mask IoU of {MIN_MASK_IOU} or more"
    if max_drop is not None:
        return f"at most {max_drop:g} points of AP lost, {iou}"
    changed = f"{100 * MAX_CHANGED:g} %"
    return f"{iou}, at most {changed} of the objects lost and {changed} gained"


def share_of_limit(loss: Loss, max_drop: float) -> float:
    """The loss as a share of its limit (see `quantize`), that of its largest part: at most 1 is within the limit.

    Example:
        >>> round(share_of_limit(Loss(50, 120, 0.96, 0.01, 0.02), 0.5), 3)
        0.8
        >>> round(share_of_limit(Loss(50, 120, 0.96, 0.01, 0.02, ap=0.7), 0.5), 3)
        1.4
    """
    parts = [(1 - loss.mask_iou) / (1 - MIN_MASK_IOU)]
    if loss.ap is None:
        parts += [loss.lost / MAX_CHANGED, loss.gained / MAX_CHANGED]
    elif loss.ap > 0:
        parts += [loss.ap / max_drop if max_drop else math.inf]
    return max(parts)


def loss_of(expected: Predictions, actual: Predictions) -> Loss:
    """The loss of predictions for the same images."""
    both = [index for index in expected.predicted if index in actual.predicted]
    loss = compare(expected.annotations_of(both), actual.annotations_of(both))
    return loss if expected.ap is None or actual.ap is None else replace(loss, ap=100 * (expected.ap - actual.ap))


def _named(name: str, steps: Generator[int, None, Predictions]) -> Generator[Step, None, Predictions]:
    while True:
        try:
            yield name, next(steps)
        except StopIteration as end:
            return end.value


class _Search:
    """The model with other trunks, and how accurate each is."""

    def __init__(
        self,
        model: MaskRCNN,
        images: Sequence[ImageInput],
        labels: LabeledDataset | None,
        expected: Predictions,
        max_drop: float,
    ) -> None:
        self.model, self.images, self.labels, self.expected, self.max_drop = model, images, labels, expected, max_drop
        self.trunk, self.mask_head = (openvino_engine.convert(*part) for part in parts_of(model.network).values())
        self._mask_head = openvino_engine.compiled(self.mask_head, 1)

    def model_with(self, trunk: Graph) -> MaskRCNN:
        changed = copy.copy(self.model)
        changed.engine = GraphEngine(self.model.network, "openvino", "int8", {"trunk": trunk, "mask_head": self._mask_head})
        return changed

    def batch_of(self, index: int) -> np.ndarray:
        self._read += 1
        batch = input_batch(self.model.engine, [read(self.images[index])]).tensors
        return batch.contiguous().numpy()

    def quantized(self, layers: Sequence[Layer], candidate: Candidate) -> Generator[Step, None, ov.Model]:
        """Quantizes the trunk in a thread, since it takes minutes, and yields how many images NNCF has read."""
        self._read = 0
        images = list(self.expected.predicted)
        with ThreadPoolExecutor(1, thread_name_prefix="nncf") as pool:
            future = pool.submit(quantize_trunk, self.trunk, layers, candidate, images, self.batch_of, self.accuracy)
            while not future.done():
                yield f"calibrating: {candidate.layers}", self._read % (len(images) + 1)
                wait([future], timeout=0.2)
            return future.result()

    def accuracy(self, trunk: ov.CompiledModel, indices: Iterable[int]) -> float:
        changed = self.model_with(openvino_engine.graph_of(trunk))
        result = run_to_end(predict_all(changed, self.images, self.labels))
        return -share_of_limit(loss_of(self.expected, result), self.max_drop)
