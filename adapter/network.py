"""The network's forward pass in three steps. None of them changes the network, so threads can share it.

Together they compute what torchvision's ``GeneralizedRCNN.forward`` does in evaluation mode, with torchvision's modules,
split where a request has settings: ``encode`` (features and proposals), ``detect`` (boxes, labels, scores) and ``segment``
(28 x 28 masks).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops import boxes as box_ops

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


def encode(
    network: Network, images: Sequence[torch.Tensor], device: torch.device, autocast: torch.dtype | None = None
) -> Features:
    """Computes features and proposals of images ([3, H, W], from `images.read`) of one padded size."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    input_sizes = [input_size(network, size) for size in sizes]
    shape = (len(images), 3, *padded_size(network, sizes[0]))
    batch = torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last)
    for target, image, (height, width) in zip(batch, images, input_sizes):
        target[:, :height, :width] = _resized(network, image.to(device), (height, width))
    with _autocast(device, autocast):
        levels = network.backbone(batch)
        objectness, deltas = network.rpn.head(list(levels.values()))
    proposals = _proposals(network, ImageList(batch, input_sizes), levels, objectness, deltas)
    # RoIAlign needs contiguous levels: one copy here instead of one in each head.
    levels = {name: level.float().contiguous() for name, level in levels.items()}
    return Features(levels, proposals, input_sizes, sizes)


def detect(
    network: Network,
    features: Features,
    *,
    score_threshold: float | Sequence[float],
    classes: torch.Tensor | None,
    max_detections: int,
    autocast: torch.dtype | None = None,
) -> list[Detections]:
    """Box head and selection: torchvision's ``postprocess_detections``, with the class filter before the top-k.

    Args:
        network: the network.
        features: features from `encode`.
        score_threshold: detections with a score above it are kept; one for all classes, or one for each label.
        classes: bool [num_classes], False for classes that are not detected; None for all.
        max_detections: maximum number of detections per image.
        autocast: dtype of automatic mixed precision, None for float32.
    """
    scores, deltas = _box_head(network, features, features.proposals, autocast)
    boxes = network.roi_heads.box_coder.decode(deltas, features.proposals)
    counts = [len(proposals) for proposals in features.proposals]
    threshold = torch.as_tensor(score_threshold, dtype=scores.dtype, device=scores.device)
    detections = []
    for index, (image_boxes, image_scores) in enumerate(zip(torch.split(boxes, counts), torch.split(scores, counts))):
        input_size = features.input_sizes[index]
        allowed = image_scores > threshold
        allowed[:, 0] = False  # the background
        if classes is not None:
            allowed &= classes
        input_boxes = box_ops.clip_boxes_to_image(image_boxes, input_size)
        kept = _select(input_boxes, image_scores, allowed, network.roi_heads.nms_thresh)
        input_boxes, labels, scores_kept = (values[:max_detections] for values in kept)
        in_image = resize_boxes(input_boxes, list(input_size), list(features.sizes[index]))
        detections.append(Detections(in_image, input_boxes, labels, scores_kept))
    return detections


def classify(
    network: Network, features: Features, input_boxes: Sequence[torch.Tensor], autocast: torch.dtype | None = None
) -> list[torch.Tensor]:
    """The box head's class probabilities for boxes in pixels of the input: for each image float [N, num_classes]."""
    scores, _ = _box_head(network, features, list(input_boxes), autocast)
    return list(torch.split(scores, [len(boxes) for boxes in input_boxes]))


def segment(
    network: Network,
    features: Features,
    input_boxes: Sequence[torch.Tensor],
    labels: Sequence[torch.Tensor],
    autocast: torch.dtype | None = None,
) -> list[torch.Tensor]:
    """The mask head's probabilities for boxes (in pixels of the input) and labels: for each image float [N, 28, 28]."""
    heads, counts = network.roi_heads, [len(boxes) for boxes in input_boxes]
    device = features.device
    if not sum(counts):
        return [torch.zeros((0, 28, 28), device=device) for _ in counts]
    with _autocast(device, autocast):
        pooled = _pooled(heads.mask_roi_pool, features, list(input_boxes))
        logits = heads.mask_predictor(heads.mask_head(pooled))
    selected = logits[torch.arange(len(logits), device=device), torch.cat(list(labels))]
    return list(torch.split(selected.float().sigmoid(), counts))


def clip_boxes(boxes: torch.Tensor, size: Size) -> torch.Tensor:
    """Clips boxes (xyxy) to an image of ``size`` (H, W)."""
    limit = torch.tensor([size[1], size[0], size[1], size[0]], device=boxes.device)
    return boxes.clamp(min=0).minimum(limit.to(boxes.dtype))


def to_input(boxes: torch.Tensor, features: Features, image: int) -> torch.Tensor:
    """Converts boxes from pixels of the image with this index to pixels of the network's input."""
    return resize_boxes(boxes, list(features.sizes[image]), list(features.input_sizes[image]))


def _resized(network: Network, image: torch.Tensor, size: Size) -> torch.Tensor:
    """Normalizes and resizes one image as torchvision does, but in place in a float copy."""
    transform = network.transform
    mean, std = (
        torch.tensor(values, device=image.device)[:, None, None] for values in (transform.image_mean, transform.image_std)
    )
    normalized = as_float(image).sub_(mean).div_(std)
    return F.interpolate(normalized[None], size=size, mode="bilinear", align_corners=False)[0]


def _proposals(
    network: Network,
    batch: ImageList,
    levels: dict[str, torch.Tensor],
    objectness: list[torch.Tensor],
    deltas: list[torch.Tensor],
) -> list[torch.Tensor]:
    # The anchor generator caches anchors in the dtype of the levels: under autocast they would stay rounded to 8 bits.
    grids = [batch.tensors.new_empty(1).expand(1, 1, *level.shape[-2:]) for level in levels.values()]
    anchors = network.rpn.anchor_generator(batch, grids)
    counts = [level[0].numel() for level in objectness]
    flat_objectness, flat_deltas = concat_box_prediction_layers(
        [level.float() for level in objectness], [level.float() for level in deltas]
    )
    boxes = network.rpn.box_coder.decode(flat_deltas, anchors).view(len(batch.image_sizes), -1, 4)
    proposals, _ = network.rpn.filter_proposals(boxes, flat_objectness, batch.image_sizes, counts)
    return proposals


def _box_head(
    network: Network, features: Features, boxes: list[torch.Tensor], autocast: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor]:
    heads = network.roi_heads
    with _autocast(features.device, autocast):
        pooled = _pooled(heads.box_roi_pool, features, boxes)
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
    return F.softmax(logits.float(), -1), deltas.float()


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


@contextlib.contextmanager
def _autocast(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        yield
