"""The network's forward pass in three steps. None of them changes the network, so threads can share it.

Together they compute what torchvision's ``GeneralizedRCNN.forward`` does in evaluation mode, with torchvision's modules,
split where a request has settings: ``encode`` (features and proposals), ``detect`` (boxes, labels, scores) and ``segment``
(28 x 28 masks).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops import boxes as box_ops

from maskbridge.adapter.engines.torch_engine import FeatureMaps, TorchEngine
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.images import as_float
from maskbridge.adapter.torchvision_types import Network

Size = tuple[int, int]


@dataclass(frozen=True)
class Features:
    """Features and proposals of images of one padded size: the input of the heads.

    Attributes:
        levels: the feature pyramid: float [B, C, h, w] by level name.
        proposals: B tensors of float [P, 4], xyxy, in pixels of the network's input.
        input_sizes: B sizes (h, w) of the images in the network's input, without padding.
        sizes: B sizes (H, W) of the images.
    """

    levels: dict[str, torch.Tensor]
    proposals: list[torch.Tensor]
    input_sizes: list[Size]
    sizes: list[Size]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def device(self) -> torch.device:
        return next(iter(self.levels.values())).device


@dataclass(frozen=True)
class Detections:
    """Detections in one image, by descending score.

    Attributes:
        boxes: float [N, 4], xyxy, in pixels of the image.
        input_boxes: the same boxes in pixels of the network's input.
        labels: int64 [N].
        scores: float [N] in 0..1.
    """

    boxes: torch.Tensor
    input_boxes: torch.Tensor
    labels: torch.Tensor
    scores: torch.Tensor

    def __len__(self) -> int:
        return len(self.scores)


def input_size(network: Network, size: Size) -> Size:
    """The (h, w) that an image of ``size`` is resized to: as in torchvision, but at least one pixel."""
    transform = network.transform
    if transform.fixed_size is not None:
        return transform.fixed_size[1], transform.fixed_size[0]
    scale = min(transform.min_size[-1] / min(size), transform.max_size / max(size))
    return max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)


def padded_size(network: Network, size: Size) -> Size:
    """The (h, w) of the network's input for an image of ``size``; only images of one padded size share a batch.

    Example:
        >>> from torchvision.models.detection import maskrcnn_resnet50_fpn
        >>> network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        >>> input_size(network, (480, 640)), padded_size(network, (480, 640))
        ((800, 1066), (800, 1088))
    """
    step = network.transform.size_divisible
    height, width = input_size(network, size)
    return -(-height // step) * step, -(-width // step) * step


def batches(network: Network, images: Sequence[torch.Tensor | ImageError], *, alone: bool = False) -> list[list[int]]:
    """The indices of images that run as one batch: those of one padded size, or each alone. Errors are in none.

    Args:
        network: the network.
        images: tensors of `images.read`, or the errors that it raised.
        alone: whether each image is a batch.
    """
    groups: dict[object, list[int]] = {}
    for index, image in enumerate(images):
        if not isinstance(image, ImageError):
            size = index if alone else padded_size(network, (image.shape[-2], image.shape[-1]))
            groups.setdefault(size, []).append(index)
    return list(groups.values())


def encode(engine: TorchEngine, images: Sequence[torch.Tensor]) -> Features:
    """Computes features and proposals of images ([3, H, W], from `images.read`) of one padded size."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    inputs = input_batch(engine, images)
    maps = engine.feature_maps(inputs.tensors)
    proposals = _proposals(engine.network, inputs, maps)
    return Features(maps.levels, proposals, inputs.image_sizes, sizes)


def input_batch(engine: TorchEngine, images: Sequence[torch.Tensor]) -> ImageList:
    """Normalizes, resizes and pads images ([3, H, W]) of one padded size: the network's input."""
    network, device = engine.network, engine.device
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    input_sizes = [input_size(network, size) for size in sizes]
    shape = (len(images), 3, *padded_size(network, sizes[0]))
    batch = torch.zeros(shape, device=device).contiguous(memory_format=engine.memory_format)
    for target, image, (height, width) in zip(batch, images, input_sizes):
        target[:, :height, :width] = _resized(network, image.to(device), (height, width))
    return ImageList(batch, input_sizes)


def detect(
    engine: TorchEngine,
    features: Features,
    *,
    score_threshold: float | Sequence[float],
    classes: Sequence[bool],
    max_detections: int,
) -> list[Detections]:
    """Box head and selection: torchvision's ``postprocess_detections``, with the class filter before the top-k.

    Args:
        engine: the network's engine.
        features: features from `encode`.
        score_threshold: detections with a score above it are kept; one for all classes, or one for each label.
        classes: for each label, whether it is detected.
        max_detections: maximum number of detections per image.
    """
    network = engine.network
    scores, deltas = _box_head(engine, features, features.proposals)
    boxes = network.roi_heads.box_coder.decode(deltas, features.proposals)
    counts = [len(proposals) for proposals in features.proposals]
    threshold = torch.as_tensor(score_threshold, dtype=scores.dtype, device=scores.device)
    detections = []
    for index, (image_boxes, image_scores) in enumerate(zip(torch.split(boxes, counts), torch.split(scores, counts))):
        input_size = features.input_sizes[index]
        allowed = image_scores > threshold
        allowed[:, 0] = False  # the background
        allowed &= torch.tensor(classes, device=scores.device)
        input_boxes = box_ops.clip_boxes_to_image(image_boxes, input_size)
        kept = _select(input_boxes, image_scores, allowed, network.roi_heads.nms_thresh)
        input_boxes, labels, scores_kept = (values[:max_detections] for values in kept)
        in_image = resize_boxes(input_boxes, list(input_size), list(features.sizes[index]))
        detections.append(Detections(in_image, input_boxes, labels, scores_kept))
    return detections


def label_boxes(
    engine: TorchEngine, features: Features, boxes: torch.Tensor, labels: Sequence[int], classes: Sequence[bool]
) -> Detections:
    """The box head's labels and scores of boxes in one image, which keep their order.

    Args:
        engine: the network's engine.
        features: features of one image from `encode`.
        boxes: float [N, 4], xyxy, in pixels of the image; they are clipped to it.
        labels: for each box its label, or 0 for the best of ``classes``.
        classes: for each label, whether it can be chosen.
    """
    device = features.device
    in_image = clip_boxes(boxes.to(device), features.sizes[0])
    in_input = resize_boxes(in_image, list(features.sizes[0]), list(features.input_sizes[0]))
    scores, _ = _box_head(engine, features, [in_input])
    given = torch.tensor(labels, dtype=torch.int64, device=device)
    best = torch.where(torch.tensor(classes, device=device), scores, -1.0).argmax(dim=1)
    chosen = torch.where(given > 0, given, best)
    return Detections(in_image, in_input, chosen, scores[torch.arange(len(chosen), device=device), chosen])


def segment(
    engine: TorchEngine, features: Features, input_boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The mask head's probabilities for boxes (in pixels of the input) and labels: for each image float [N, 28, 28]."""
    counts, device = [len(boxes) for boxes in input_boxes], features.device
    if not sum(counts):
        return [torch.zeros((0, 28, 28), device=device) for _ in counts]
    logits = engine.mask_head(_pooled(engine.network.roi_heads.mask_roi_pool, features, list(input_boxes)))
    selected = logits[torch.arange(len(logits), device=device), torch.cat(list(labels))]
    return list(torch.split(selected.sigmoid(), counts))


def clip_boxes(boxes: torch.Tensor, size: Size) -> torch.Tensor:
    """Clips boxes (xyxy) to an image of ``size`` (H, W)."""
    limit = torch.tensor([size[1], size[0], size[1], size[0]], device=boxes.device)
    return boxes.clamp(min=0).minimum(limit.to(boxes.dtype))


def _resized(network: Network, image: torch.Tensor, size: Size) -> torch.Tensor:
    """Normalizes and resizes one image as torchvision does, but in place in a float copy."""
    transform = network.transform
    mean, std = (
        torch.tensor(values, device=image.device)[:, None, None] for values in (transform.image_mean, transform.image_std)
    )
    normalized = as_float(image).sub_(mean).div_(std)
    return F.interpolate(normalized[None], size=size, mode="bilinear", align_corners=False)[0]


def _proposals(network: Network, batch: ImageList, maps: FeatureMaps) -> list[torch.Tensor]:
    anchors = network.rpn.anchor_generator(batch, list(maps.levels.values()))
    counts = [level[0].numel() for level in maps.objectness]
    flat_objectness, flat_deltas = concat_box_prediction_layers(maps.objectness, maps.deltas)
    boxes = network.rpn.box_coder.decode(flat_deltas, anchors).view(len(batch.image_sizes), -1, 4)
    proposals, _ = network.rpn.filter_proposals(boxes, flat_objectness, batch.image_sizes, counts)
    return proposals


def _box_head(engine: TorchEngine, features: Features, boxes: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    logits, deltas = engine.box_head(_pooled(engine.network.roi_heads.box_roi_pool, features, boxes))
    return F.softmax(logits, -1), deltas


def _pooled(pool: MultiScaleRoIAlign, features: Features, boxes: list[torch.Tensor]) -> torch.Tensor:
    """RoIAlign of each box. torchvision's uses one CPU thread, so boxes are split among threads; values are the same."""
    threads = torch.get_num_threads()
    if features.device.type != "cpu" or threads == 1 or sum(map(len, boxes)) < 4 * threads:
        return pool(features.levels, boxes, features.input_sizes)

    @torch.inference_mode()
    def pool_part(image: int, part: torch.Tensor) -> torch.Tensor:
        part_boxes = [part if index == image else part[:0] for index in range(len(boxes))]
        return pool(features.levels, part_boxes, features.input_sizes)

    parts = [(image, part) for image, image_boxes in enumerate(boxes) for part in image_boxes.chunk(threads)]
    with ThreadPoolExecutor(threads) as workers:
        return torch.cat(list(workers.map(pool_part, *zip(*parts))))


def _select(
    boxes: torch.Tensor, scores: torch.Tensor, allowed: torch.Tensor, iou_threshold: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes [K, 4], labels [K] and scores [K] out of [N, classes, 4] and [N, classes], by score, after NMS per class."""
    rows, labels = torch.where(allowed)
    boxes, scores = boxes[rows, labels], scores[rows, labels]
    large = box_ops.remove_small_boxes(boxes, min_size=1e-2)
    boxes, scores, labels = boxes[large], scores[large], labels[large]
    best = box_ops.batched_nms(boxes, scores, labels, iou_threshold)
    return boxes[best], labels[best], scores[best]
