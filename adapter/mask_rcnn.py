"""The model: predicts instances from images."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models import WeightsEnum

from maskbridge.adapter import network as net
from maskbridge.adapter.confidence import ConfidenceLike, confidence_of
from maskbridge.adapter.engines.choosing import choose, make_engine
from maskbridge.adapter.engines.devices import default_batch_size
from maskbridge.adapter.engines.out_of_memory import in_halves
from maskbridge.adapter.engines.streams import Streams, checked_streams
from maskbridge.adapter.errors import ImageError, SettingsError
from maskbridge.adapter.images import ImageInput, all_or_raise, as_list, read, read_each
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.masks import MaskCrop
from maskbridge.adapter.pasting import paste
from maskbridge.adapter.settings import EngineName, Precision, Settings, checked_boxes, checked_labels, request_settings
from maskbridge.adapter.weights import checkpoints
from maskbridge.adapter.weights.checkpoints import Weights
from maskbridge.adapter.weights.loading import load_network
from maskbridge.adapter.weights.names import WeightsLike, resolve


class MaskRCNN:
    """torchvision's Mask R-CNN, with `Instances` as its results.

    Boxes, labels and scores equal torchvision's for the same network; masks equal its pasted masks at the threshold, but
    are box-sized crops. Thresholds and class filters are applied before the mask head. Threads can share a model.

    Args:
        weights: ``"DEFAULT"``, ``"COCO_V1"``, ``"bundled"``, torchvision's enum member, a file of safetensors or
            torch, ``"https://…#sha256=…"``, or None for random values (see `maskbridge.adapter.weights.names.resolve`).
        builder: a key of `maskbridge.adapter.builders.BUILDERS`; by default the weights' own.
        num_classes: number of classes with the background; by default the weights' own (91 with random values).
        class_names: names by label, for weights that hold no class names.
        weights_backbone: torchvision's weights for the backbone alone, with ``weights=None``.
        trainable_backbone_layers: for training: how many blocks of the backbone are trainable, 0 to 5.
        norm_eps: epsilon of frozen batch norms, which a ``.pth`` file does not hold: 0 for fine-tunes of ``COCO_V1``.
        progress: whether downloads show a progress bar.
        device: such as ``"cpu"`` or ``"cuda:1"``; by default a GPU if one is available.
        engine: ``"torch"``, ``"openvino"``, ``"onnxruntime"`` or ``"auto"``: what runs the layers (see docs/engines.md).
        precision: ``"auto"``, ``"float32"`` or, faster and less exact, ``"int8"`` (weights that ``maskbridge quantize``
            wrote, by default), ``"bfloat16"`` or, on a GPU, ``"float16"``.
        streams: how many images are predicted at once on a CPU, with fewer threads each; None for a good number.
        download_limit: seconds that a download may take; by default it fails only after 30 seconds without data.
        **arguments: keyword arguments of torchvision's ``MaskRCNN`` class: ``min_size``, ``box_nms_thresh``, ….

    Raises:
        WeightsError: the weights are unknown, cannot be downloaded or read, or do not fit the network.
        SettingsError: a name or value is invalid.

    Example:
        >>> model = MaskRCNN("bundled")
        >>> model.predict(np.full((40, 60, 3), 99, dtype=np.uint8))
        [Instances(0 in 60 x 40: none)]
    """

    def __init__(
        self,
        weights: WeightsLike = "DEFAULT",
        *,
        builder: str | None = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        weights_backbone: WeightsEnum | str | None = None,
        trainable_backbone_layers: int | None = None,
        norm_eps: float | None = None,
        progress: bool = True,
        device: str | torch.device | None = None,
        engine: EngineName = "torch",
        precision: Precision = "auto",
        streams: int | None = 1,
        download_limit: float | None = None,
        **arguments: Any,
    ) -> None:
        checked_streams(streams, choose(engine, device, precision).device)  # errors come before a download
        resolved = resolve(
            weights,
            builder=builder,
            class_names=class_names,
            num_classes=num_classes,
            norm_eps=norm_eps,
            progress=progress,
            limit=download_limit,
        )
        choice = choose(engine, device, precision, quantized=resolved.quantized is not None)
        self.streams = checked_streams(streams, choice.device)
        self._streams = Streams(self.streams)
        self._arguments = {**resolved.arguments, **arguments}
        self.network = load_network(
            resolved,
            self._arguments,
            weights_backbone=weights_backbone,
            trainable_backbone_layers=trainable_backbone_layers,
            progress=progress,
        )
        self.network.to(device=choice.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.builder, self.class_names = resolved.builder, resolved.class_names
        self.weights_name, self._norm_eps = resolved.name, resolved.norm_eps
        keep = (lambda: self.weights_fingerprint) if resolved.state else None  # random weights are not loaded again
        self.quantized = resolved.quantized if choice.precision == "int8" else None
        self.engine = make_engine(
            choice, self.network, self.streams, quantized=self.quantized, fingerprint=keep, progress=progress
        )

    def __repr__(self) -> str:
        return f"MaskRCNN({self.weights_name!r}, builder={self.builder!r}, {self.engine!r})"

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.engine.device

    @property
    def weights(self) -> Weights:
        """The network's current state dict, with builder, class names and arguments."""
        state = self.network.state_dict()
        return Weights(self.weights_name, self.builder, self.class_names, state, self._arguments, norm_eps=self._norm_eps)

    @cached_property
    def fingerprint(self) -> str:
        """A short stable hash of weights, builder, class names, arguments and the engine's variant; not of a request."""
        return checkpoints.variant_fingerprint(self.weights_fingerprint, self.engine.variant)

    @cached_property
    def weights_fingerprint(self) -> str:
        """The `fingerprint` without the engine's variant."""
        layers = "" if self.quantized is None else self.quantized.sha256
        return checkpoints.variant_fingerprint(checkpoints.fingerprint(self.weights), layers)

    def save(self, path: str | os.PathLike[str], *, half: bool = False, extra: dict[str, str] | None = None) -> Path:
        """Writes a ``.safetensors`` file for ``MaskRCNN(path)`` (see `maskbridge.adapter.weights.checkpoints.save`)."""
        return checkpoints.save(path, replace(self.weights, quantized=self.quantized), half=half, extra=extra)

    def settings(
        self,
        *,
        confidence_threshold: ConfidenceLike | None = None,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
        masks: bool = True,
    ) -> Settings:
        """Validates the settings of a request (see `predict`); ``masks=False`` predicts the same boxes without masks.

        Raises:
            SettingsError: a value is out of range, or a class is unknown (the nearest is suggested).
        """
        heads = self.network.roi_heads
        return request_settings(
            self.class_names,
            confidence_of(heads.score_thresh if confidence_threshold is None else confidence_threshold),
            mask_threshold=mask_threshold,
            classes=classes,
            max_detections=heads.detections_per_img if max_detections is None else max_detections,
            masks=masks,
        )

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        confidence_threshold: ConfidenceLike | None = None,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
        batch_size: int | None = None,
    ) -> list[Instances]:
        """Detects the objects in images.

        Args:
            images: one or more images of any size (see `maskbridge.adapter.images.read`).
            confidence_threshold: objects with a higher score are detected; by default ``box_score_thresh`` (0.05). Or one
                for each class: ``{"person": 0.6}``, 0.5 for the others (see `maskbridge.adapter.confidence`).
            mask_threshold: pixels with a probability of at least this are in a mask.
            classes: names of the classes to detect; by default all.
            max_detections: maximum number of objects per image; by default ``box_detections_per_img`` (100).
            batch_size: maximum number of images of one padded size per batch; by default 1 on a CPU, 8 on a GPU.

        Returns:
            The `Instances` of each image, by descending score.

        Raises:
            ImageError: an image cannot be used, with its index and path. `predict_each` continues instead.
            SettingsError: a setting is invalid.
        """
        settings = self.settings(
            confidence_threshold=confidence_threshold,
            mask_threshold=mask_threshold,
            classes=classes,
            max_detections=max_detections,
        )
        return all_or_raise(self.predict_each(as_list(images), settings=settings, batch_size=batch_size))

    def predict_each(
        self, images: Iterable[ImageInput], *, settings: Settings | None = None, batch_size: int | None = None
    ) -> Iterator[Instances | ImageError]:
        """Like `predict`, but reads images lazily and yields results in order, an `ImageError` for each invalid one."""
        settings = settings or self.settings()
        size = default_batch_size(self.device, self.streams) if batch_size is None else batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise SettingsError(f"batch_size is a whole number of 1 or more, not {size!r}")
        for chunk in read_each(images, size):
            yield from self.predict_read(chunk, settings)

    def predict_read(self, images: Sequence[torch.Tensor | ImageError], settings: Settings) -> list[Instances | ImageError]:
        """Predicts for images that are already read; images of one padded size run as one batch.

        Args:
            images: tensors of `maskbridge.adapter.images.read`, or the errors that it raised.
            settings: settings of the request, from `settings`.

        Returns:
            For each image its `Instances`, or the error that was passed in.
        """
        batches = net.batches(self.network, images, alone=self.streams > 1)

        def predict(indices: list[int]) -> list[Instances | ImageError]:
            batch = [image for index in indices if isinstance(image := images[index], torch.Tensor)]
            return in_halves(lambda part: self.detect(self.encode(part), settings), batch)

        results: dict[int, Any] = dict(enumerate(images))  # an error stays
        for indices, predicted in zip(batches, self._streams.map(predict, batches)):
            results.update(zip(indices, predicted))
        return [results[index] for index in range(len(images))]

    @torch.inference_mode()
    def encode(self, images: Sequence[torch.Tensor]) -> net.Features:
        """Computes backbone features and proposals for images (tensors of `images.read`) of one padded size."""
        return net.encode(self.engine, images)

    @torch.inference_mode()
    def detect(self, features: net.Features, settings: Settings) -> list[Instances]:
        """Detects the objects in encoded images: box head, selection and, if masks are requested, mask head."""
        detections = net.detect(
            self.engine,
            features,
            score_threshold=settings.class_thresholds or settings.confidence_threshold,
            classes=settings.classes,
            max_detections=settings.max_detections,
        )
        masks: list[tuple[MaskCrop | None, ...]] = [(None,) * len(detected) for detected in detections]
        if settings.masks:
            boxes = [detected.input_boxes for detected in detections]
            labels = [detected.labels for detected in detections]
            probabilities = net.segment(self.engine, features, boxes, labels)
            masks = [
                tuple(paste(image_masks, detected.boxes, size, settings.mask_threshold))
                for detected, image_masks, size in zip(detections, probabilities, features.sizes)
            ]
        return [self._instances(*one) for one in zip(detections, masks, features.sizes)]

    def segment_boxes(
        self,
        image: ImageInput | net.Features,
        boxes: np.ndarray | Sequence[Sequence[float]],
        labels: Sequence[str | int | None] | None = None,
        *,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
    ) -> Instances:
        """Predicts a mask for each box, with the same features and mask head as `predict`.

        Args:
            image: an image, or its features from `encode`, which saves running the backbone.
            boxes: [N, 4], xyxy, in pixels of the image; the network gets them clipped to the image.
            labels: for each box a class name, a label, or None (the default): then the box head chooses the class.
            mask_threshold: pixels with a probability of at least this are in a mask.
            classes: names that the box head chooses from; by default all.

        Returns:
            N instances, in the order of ``boxes``; ``scores`` are the box head's probabilities of their labels.

        Raises:
            ImageError: the image cannot be used.
            SettingsError: a box is not four finite numbers with a positive size inside the image, or a label is unknown.
        """
        settings = self.settings(mask_threshold=mask_threshold, classes=classes)
        features = image if isinstance(image, net.Features) else self.encode([read(image)])
        pixel_boxes = checked_boxes(boxes, features.sizes[0])
        label_list = checked_labels(labels, self.class_names, len(pixel_boxes))
        with torch.inference_mode():
            labeled = net.label_boxes(self.engine, features, torch.from_numpy(pixel_boxes), label_list, settings.classes)
            masks = net.segment(self.engine, features, [labeled.input_boxes], [labeled.labels])[0]
            crops = paste(masks, labeled.boxes, features.sizes[0], mask_threshold)
        return self._instances(replace(labeled, boxes=torch.from_numpy(pixel_boxes)), tuple(crops), features.sizes[0])

    def _instances(self, detected: net.Detections, masks: tuple[MaskCrop | None, ...], size: net.Size) -> Instances:
        boxes, labels, scores = (values.cpu().numpy() for values in (detected.boxes, detected.labels, detected.scores))
        return Instances(size, boxes, labels, self.class_names, masks, scores)
