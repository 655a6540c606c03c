"""Mask R-CNN as a model that FiftyOne's ``dataset.apply_model`` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import fiftyone as fo
import fiftyone.core.models as fom
import fiftyone.utils.torch as fout
import torch

from maskbridge.adapter import ImageError, Instances, MaskRCNN, SettingsError
from maskbridge.adapter import images as image_reading
from maskbridge.adapter.confidence import ConfidenceLike
from maskbridge.adapter.settings import Settings
from maskbridge.plugin.labels import to_detections


@dataclass
class ApplyConfig:
    """The attributes that ``apply_model`` sets on a model for one call; the names are FiftyOne's."""

    confidence_thresh: float | None = None
    filter_classes: Collection[str] | None = None


@dataclass(frozen=True)
class Failure:
    """An image that could not be used: its sample's id, its path, and why."""

    sample_id: str | None
    path: str | None
    reason: str


@dataclass(frozen=True)
class LoadedImage:
    """The value that a data-loader worker returns: an image, or the error of an invalid one."""

    sample_id: str | None
    path: str | None
    image: torch.Tensor | ImageError = field(repr=False)


class ImageGetItem(fout.GetItem):
    """Reads a sample's image in a data-loader worker; an invalid image is a value, so that its batch is not lost."""

    @property
    def required_keys(self) -> list[str]:
        return ["id", "filepath"]

    def __call__(self, d: Mapping[str, Any]) -> LoadedImage:
        path = d["filepath"]
        try:
            return LoadedImage(d["id"], path, image_reading.read(path))
        except ImageError as error:
            return LoadedImage(d["id"], path, error)


class MaskRCNNModel(fom.SupportsGetItem, fom.TorchModelMixin, fom.Model):
    """`maskbridge.adapter.MaskRCNN` for FiftyOne: ``dataset.apply_model(MaskRCNNModel(), label_field="instances")``.

    Images of any sizes share a batch; an invalid image does not fail its batch. Thresholds and classes passed to
    ``apply_model`` (``confidence_thresh``, ``classes``) apply before masks are computed. Images without objects get an
    empty ``Detections``; images that failed get no label and are listed in ``failures``.

    Args:
        model: a `MaskRCNN`, or weights for one (see its arguments).
        confidence_threshold: objects with a score above it are detected, unless ``apply_model`` sets another; or one for
            each class (``{"person": 0.6}``).
        mask_threshold: pixels of at least this probability are in a mask.
        classes: names of the classes to detect, unless ``apply_model`` sets others; by default all.
        max_detections: maximum number of objects in an image; by default the model's own (100).
        on_error: ``"skip"`` continues after an invalid image; ``"raise"`` raises its `ImageError`, which ``apply_model``
            raises with ``skip_failures=False``.
        **arguments: for `MaskRCNN`, if ``model`` is weights: ``device``, ``builder``, ….

    Attributes:
        failures: the images that failed since the model was last entered (each ``apply_model`` enters it).

    Example:
        >>> model = MaskRCNNModel("bundled", confidence_threshold=0.5)
        >>> model.predict(image_reading.read(__import__("skimage").data.astronaut())).detections[0].label
        'person'
    """

    def __init__(
        self,
        model: MaskRCNN | Any = "DEFAULT",
        *,
        confidence_threshold: ConfidenceLike = 0.5,
        mask_threshold: float = 0.5,
        classes: Collection[str] | None = None,
        max_detections: int | None = None,
        on_error: Literal["skip", "raise"] = "skip",
        **arguments: Any,
    ) -> None:
        if on_error not in ("skip", "raise"):
            raise SettingsError(f"on_error is 'skip' or 'raise', not {on_error!r}")
        if isinstance(model, MaskRCNN) and arguments:
            raise SettingsError(f"{', '.join(arguments)}: pass these arguments to the MaskRCNN instead")
        self.model = model if isinstance(model, MaskRCNN) else MaskRCNN(model, **arguments)
        self.config = ApplyConfig()
        self.failures: list[Failure] = []
        self._on_error = on_error
        self._options: dict[str, Any] = {
            "confidence_threshold": confidence_threshold,
            "mask_threshold": mask_threshold,
            "classes": classes,
            "max_detections": max_detections,
        }
        self._preprocess = True
        self._entered = contextlib.ExitStack()
        self._settings()  # raises on an invalid value now, not after the first batch

    def __enter__(self) -> MaskRCNNModel:
        from maskbridge.plugin.videos import fiftyone_reads_upright

        self._settings()
        self.failures = []
        self._entered.enter_context(fiftyone_reads_upright(self._video_failed))
        return self

    def __exit__(self, *args: object) -> None:
        self._entered.close()

    @property
    def media_type(self) -> str:
        return "image"

    @property
    def ragged_batches(self) -> bool:
        return False  # for FiftyOne, True allows only batches of one image

    @property
    def transforms(self) -> None:
        return None

    @property
    def preprocess(self) -> bool:
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        self._preprocess = value

    @property
    def has_collate_fn(self) -> bool:
        return True

    @staticmethod
    def collate_fn(batch: list[LoadedImage]) -> list[LoadedImage]:
        return batch

    @property
    def _using_gpu(self) -> bool:  # FiftyOne reads it if pin_memory is set
        return self.model.device.type == "cuda"

    def build_get_item(self, field_mapping: Mapping[str, str] | None = None) -> ImageGetItem:
        return ImageGetItem(field_mapping=field_mapping)

    def predict(self, arg: Any) -> fo.Detections | None:
        """The detections of one image: a loaded one, or whatever `maskbridge.adapter.images.read` takes."""
        return self.predict_all([arg])[0]

    def predict_all(self, args: Sequence[Any]) -> list[fo.Detections | None]:
        """The detections of a batch, None for an image that failed."""
        return [None if result is None else to_detections(result) for result in self.predict_instances(args)]

    def predict_instances(self, args: Sequence[Any]) -> list[Instances | None]:
        """Like `predict_all`, before the conversion to FiftyOne's labels."""
        batch = [arg if isinstance(arg, LoadedImage) else _loaded(arg) for arg in args]
        results = self.model.predict_read([loaded.image for loaded in batch], self._settings())
        return [self._or_failure(loaded, result) for loaded, result in zip(batch, results)]

    def _or_failure(self, loaded: LoadedImage, result: Instances | ImageError) -> Instances | None:
        if isinstance(result, Instances):
            return result
        if self._on_error == "raise":
            raise result
        self.failures.append(Failure(loaded.sample_id, loaded.path, result.reason))
        return None

    def _video_failed(self, error: ImageError) -> None:
        if self._on_error == "raise":
            raise error
        self.failures.append(Failure(None, error.path, error.reason))

    def _settings(self) -> Settings:
        options = dict(self._options)
        if self.config.confidence_thresh is not None:
            options["confidence_threshold"] = self.config.confidence_thresh
        if self.config.filter_classes is not None:
            options["classes"] = self.config.filter_classes
        return self.model.settings(**options)


def _loaded(image: Any) -> LoadedImage:
    try:
        return LoadedImage(None, None, image_reading.read(image))
    except ImageError as error:
        return LoadedImage(None, error.path, error)
