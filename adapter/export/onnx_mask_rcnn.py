"""A file of `maskbridge.adapter.export.onnx_export`, run by ONNX Runtime.

The network and the steps around it run without PyTorch; images are read as everywhere in this package, which imports it.
`docs/onnx.md` has the same in numpy and ONNX Runtime alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskbridge.adapter.confidence import ConfidenceLike, confidence_of
from maskbridge.adapter.errors import ImageError, SettingsError, WeightsError
from maskbridge.adapter.export.numpy_steps import Scaling, padded_size, paste, resize
from maskbridge.adapter.export.onnx_metadata import FORMAT
from maskbridge.adapter.images import ImageInput, all_or_raise, as_list, read_each
from maskbridge.adapter.instances import Instances
from maskbridge.adapter.masks import MaskCrop
from maskbridge.adapter.optional_dependencies import requires
from maskbridge.adapter.settings import Settings, request_settings

if TYPE_CHECKING:
    import onnxruntime


class OnnxMaskRCNN:
    """A Mask R-CNN in an ONNX file, from images to `Instances`, with the results of the `MaskRCNN` that was exported.

    What a `MaskRCNN` is given when it is loaded (``min_size``, ``builder``, …) is fixed in the file; ``device`` and
    ``precision`` are the ``providers``. A file has neither `MaskRCNN.encode` nor `MaskRCNN.segment_boxes`.

    Args:
        path: a file that ``maskbridge export`` wrote.
        providers: ONNX Runtime's execution providers; by default the CPU's.
        threads: CPU threads for one batch; by default all cores.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        WeightsError: the file cannot be read, or is not one of ``maskbridge export``.

    Attributes:
        class_names: names by label, the background first.
        scaling: how images are scaled for the network.
        batch_size: images in each input of the file.
        builder: the network's builder, as in `MaskRCNN`.
        weights_name: the name of the exported weights.
        fingerprint: that of the exported `MaskRCNN`.

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
                age = "an older" if str(metadata["format"]) < FORMAT else "a newer"
                raise WeightsError(f"{path}: written by {age} maskbridge (format {metadata['format']}): export it again")
        except KeyError:
            raise WeightsError(f"{path}: was not written by maskbridge export: its metadata is missing") from None
        except WeightsError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no public base
            raise WeightsError(f"{path}: cannot be read as an ONNX file ({str(error).splitlines()[0]})") from None
        self.class_names: tuple[str, ...] = tuple(metadata["class_names"])
        self.scaling = Scaling(metadata["scaling"], (int(metadata["limits"][0]), int(metadata["limits"][1])))
        self.batch_size = int(metadata["batch_size"])
        self.builder: str = metadata["builder"]
        self.weights_name: str = metadata["weights"]
        self.fingerprint: str = metadata["fingerprint"]
        self._score_threshold = float(metadata["score_threshold"])
        self._max_detections = int(metadata["max_detections"])

    def __repr__(self) -> str:
        return f"OnnxMaskRCNN({self.weights_name!r}, builder={self.builder!r})"

    def settings(
        self,
        *,
        confidence_threshold: ConfidenceLike | None = None,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
        masks: bool = True,
    ) -> Settings:
        """Checks the settings of a request; see `MaskRCNN.settings`.

        Raises:
            SettingsError: a value is invalid, or exceeds the file's limits (a lower threshold or more objects).
        """
        threshold = self._score_threshold if confidence_threshold is None else confidence_threshold
        limit = self._max_detections if max_detections is None else max_detections
        confidence = confidence_of(threshold)
        settings = request_settings(
            self.class_names,
            confidence,
            mask_threshold=mask_threshold,
            classes=classes,
            max_detections=limit,
            masks=masks,
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
        batch_size: int | None = None,
    ) -> list[Instances]:
        """Detects the objects in images; arguments, results and errors are those of `MaskRCNN.predict`.

        Classes and thresholds choose among the detections in the file's limits: with ``classes``, unlike in `MaskRCNN`,
        objects of other classes count towards the file's maximum. ``batch_size`` is at most the file's.
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
        """Like `predict`, one image after another: images are read when needed, an invalid one yields its `ImageError`."""
        settings = self.settings() if settings is None else settings
        size = self.batch_size if batch_size is None else batch_size
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= self.batch_size:
            raise SettingsError(f"this file was exported with a batch_size of {self.batch_size}: 1 to that, not {size!r}")
        for chunk in read_each(images, size):
            results: dict[int, Instances | ImageError] = {}
            groups: dict[tuple[int, int], dict[int, np.ndarray]] = {}
            for index, image in enumerate(chunk):
                if isinstance(image, ImageError):
                    results[index] = image
                else:
                    pixels = image.cpu().permute(1, 2, 0).numpy()
                    groups.setdefault(padded_size(self.scaling.size_of(pixels.shape[:2])), {})[index] = pixels
            for shape, group in groups.items():
                results.update(zip(group, self._run(list(group.values()), shape, settings)))
            yield from (results[index] for index in range(len(chunk)))

    def _run(self, images: Sequence[np.ndarray], shape: tuple[int, int], settings: Settings) -> list[Instances]:
        """The instances in images ([H, W, 3]) of one padded size."""
        batch = np.zeros((self.batch_size, 3, *shape), dtype=np.float32)
        sizes = np.full((self.batch_size, 2), shape, dtype=np.int64)
        for index, image in enumerate(images):
            sizes[index] = height, width = self.scaling.size_of(image.shape[:2])
            batch[index, :, :height, :width] = resize(image, (height, width))
        outputs: list[Any] = self._session.run(None, {"images": batch, "sizes": sizes})
        return [
            self._instances(image.shape[:2], sizes[index], _Detected(*outputs[4 * index : 4 * index + 4]), settings)
            for index, image in enumerate(images)
        ]

    def _instances(
        self, size: tuple[int, int], input_size: np.ndarray, detected: _Detected, settings: Settings
    ) -> Instances:
        by_label = settings.class_thresholds or (settings.confidence_threshold,) * len(self.class_names)
        threshold = np.asarray(by_label, dtype=np.float32)[detected.labels]
        allowed = (detected.scores > threshold) & np.array(settings.classes)[detected.labels]
        kept = np.flatnonzero(allowed)[: settings.max_detections]
        down, right = (np.float32(size[side]) / np.float32(input_size[side]) for side in (0, 1))
        boxes = detected.boxes[kept] * np.array([right, down, right, down], dtype=np.float32)
        masks: tuple[MaskCrop | None, ...] = (None,) * len(kept)
        if settings.masks:
            probabilities = detected.masks[kept, 0]
            masks = tuple(paste(mask, box, size, settings.mask_threshold) for mask, box in zip(probabilities, boxes))
        return Instances(
            size=size,
            boxes=boxes,
            labels=detected.labels[kept],
            class_names=self.class_names,
            masks=masks,
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
