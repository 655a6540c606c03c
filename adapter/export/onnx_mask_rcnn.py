"""The network without PyTorch: a file of `maskbridge.adapter.export.onnx_export`, run by ONNX Runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from maskbridge.adapter.confidence import ConfidenceLike, confidence_of
from maskbridge.adapter.errors import ImageError, SettingsError, WeightsError
from maskbridge.adapter.images import ImageInput, all_or_raise, as_float, as_list, read_each
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.optional_dependencies import requires
from maskbridge.adapter.pasting import paste
from maskbridge.adapter.settings import Settings, request_settings

if TYPE_CHECKING:
    import onnxruntime

FORMAT = "1"


class OnnxMaskRCNN:
    """A Mask R-CNN in an ONNX file, from images to `Instances`, as `MaskRCNN` is.

    An image is scaled to fit the file's fixed input, its sides' ratio kept, and padded; so results are those of `MaskRCNN`
    at that input's size.

    Args:
        path: a file that ``maskbridge export`` wrote.
        providers: ONNX Runtime's execution providers; by default the CPU's.
        threads: CPU threads for one batch; by default all cores.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        WeightsError: the file cannot be read, or is not one of ``maskbridge export``.

    Attributes:
        class_names: names by label, the background first.
        input_size: (h, w) of the network's input.

    Example:
        ``OnnxMaskRCNN("people.onnx").predict(["street.jpg"], confidence_threshold=0.5)``
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
    ) -> None:
        with requires("onnx"):
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        try:
            self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
                Path(path), options, providers=list(providers)
            )
            properties = self._session.get_modelmeta().custom_metadata_map
            metadata = json.loads(properties["maskbridge"])
            if metadata["format"] != FORMAT:
                raise WeightsError(f"{path}: written by a newer maskbridge (format {metadata['format']})")
        except KeyError:
            raise WeightsError(f"{path}: was not written by maskbridge export: its metadata is missing") from None
        except WeightsError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no public base
            raise WeightsError(f"{path}: cannot be read as an ONNX file ({str(error).splitlines()[0]})") from None
        self.class_names: tuple[str, ...] = tuple(metadata["class_names"])
        self.input_size: tuple[int, int] = (int(metadata["height"]), int(metadata["width"]))
        self.batch_size = int(metadata["batch_size"])
        self.fingerprint: str = metadata["fingerprint"]
        self._score_threshold = float(metadata["score_threshold"])
        self._max_detections = int(metadata["max_detections"])

    def settings(
        self,
        *,
        confidence_threshold: ConfidenceLike | None = None,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
    ) -> Settings:
        """Checks the settings of a request; see `MaskRCNN.settings`.

        Raises:
            SettingsError: a value is invalid, or exceeds the file's limits (a lower threshold or more objects).
        """
        threshold = self._score_threshold if confidence_threshold is None else confidence_threshold
        limit = self._max_detections if max_detections is None else max_detections
        confidence = confidence_of(threshold)
        settings = request_settings(
            self.class_names, confidence, mask_threshold=mask_threshold, classes=classes, max_detections=limit
        )
        if settings.confidence_threshold < self._score_threshold:
            raise SettingsError(
                f"this file was exported with a confidence_threshold of {self._score_threshold}, not {confidence}"
            )
        if settings.max_detections > self._max_detections:
            raise SettingsError(
                f"this file was exported with at most {self._max_detections} detections in an image, not {limit}"
            )
        return settings

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        confidence_threshold: ConfidenceLike | None = None,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
    ) -> list[Instances]:
        """Detects the objects in images; arguments, results and errors are those of `MaskRCNN.predict`.

        Classes and thresholds choose among the detections in the file's limits: with ``classes``, unlike in `MaskRCNN`,
        objects of other classes count towards the file's maximum.
        """
        settings = self.settings(
            confidence_threshold=confidence_threshold,
            mask_threshold=mask_threshold,
            classes=classes,
            max_detections=max_detections,
        )
        return all_or_raise(self.predict_each(as_list(images), settings=settings))

    def predict_each(
        self, images: Iterable[ImageInput], *, settings: Settings | None = None
    ) -> Iterator[Instances | ImageError]:
        """Like `predict`, one image after another: images are read when needed, an invalid one yields its `ImageError`."""
        settings = self.settings() if settings is None else settings
        for chunk in read_each(images, self.batch_size):
            valid = [image for image in chunk if not isinstance(image, ImageError)]
            instances = iter(self._run(valid, settings) if valid else [])
            yield from (image if isinstance(image, ImageError) else next(instances) for image in chunk)

    def _run(self, images: Sequence[torch.Tensor], settings: Settings) -> list[Instances]:
        height, width = self.input_size
        batch = np.zeros((self.batch_size, 3, height, width), dtype=np.float32)
        scales = []
        for index, image in enumerate(images):
            fitted, scale = fit(image, self.input_size)
            batch[index, :, : fitted.shape[-2], : fitted.shape[-1]] = fitted.numpy()
            scales.append(scale)
        outputs: list[Any] = self._session.run(None, {"images": batch})
        results = []
        for index, image in enumerate(images):
            detected = _Detected(*outputs[4 * index : 4 * index + 4])
            results.append(self._instances((image.shape[-2], image.shape[-1]), scales[index], detected, settings))
        return results

    def _instances(
        self, size: tuple[int, int], scale: tuple[float, float], detected: _Detected, settings: Settings
    ) -> Instances:
        by_label = settings.class_thresholds or (settings.confidence_threshold,) * len(self.class_names)
        threshold = np.asarray(by_label, dtype=np.float32)[detected.labels]
        allowed = (detected.scores > threshold) & np.array(settings.classes)[detected.labels]
        kept = np.flatnonzero(allowed)[: settings.max_detections]
        in_image = detected.boxes[kept] / np.array([scale[1], scale[0], scale[1], scale[0]], dtype=np.float32)
        in_image = in_image.clip(0, [size[1], size[0], size[1], size[0]]).astype(np.float32)
        masks = torch.from_numpy(detected.masks[kept, 0])
        return Instances(
            size=size,
            boxes=in_image,
            labels=detected.labels[kept],
            class_names=self.class_names,
            masks=tuple(paste(masks, torch.from_numpy(in_image), size, settings.mask_threshold)),
            scores=detected.scores[kept],
        )


@dataclass(frozen=True)
class _Detected:
    """The outputs of the ONNX network for one image.

    Attributes:
        boxes: float32 [N, 4], xyxy, in pixels of the network's input.
        labels: int64 [N].
        scores: float32 [N].
        masks: float32 [N, 1, 28, 28].
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray


def fit(image: torch.Tensor, input_size: tuple[int, int]) -> tuple[torch.Tensor, tuple[float, float]]:
    """An image ([3, H, W] of `maskbridge.adapter.images.read`) scaled to fit an input of (h, w), sides' ratio kept.

    Returns:
        float32 [3, h', w'] in 0..1, not padded, and the factors (vertical, horizontal) from image to input.

    Example:
        >>> fitted, scale = fit(torch.zeros(3, 100, 200, dtype=torch.uint8), (320, 320))
        >>> tuple(fitted.shape), scale
        ((3, 160, 320), (1.6, 1.6))
    """
    height, width = image.shape[-2:]
    factor = min(input_size[0] / height, input_size[1] / width)
    scaled = max(round(height * factor), 1), max(round(width * factor), 1)
    resized = F.interpolate(as_float(image)[None].cpu(), size=scaled, mode="bilinear", align_corners=False)[0]
    return resized, (scaled[0] / height, scaled[1] / width)
