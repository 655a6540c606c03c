"""The settings of a training run, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.settings import Precision


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run.

    Attributes:
        epochs: number of passes over all images.
        batch_size: images in a step on each device.
        learning_rate: AdamW's, after the warm-up; it falls to 0 along a cosine.
        warmup_steps: steps in which the rate rises from a thousandth; by default a tenth of all, at most 1,000.
        weight_decay: AdamW's, for weights that are not biases or norms.
        clip: the maximum norm of the gradient; larger gradients are scaled down.
        flip: the probability that an image is mirrored.
        scale_jitter: the minimum and maximum factor by which an image is scaled (then cropped or padded to its own size);
            None for no scaling.
        trainable_backbone_layers: how many of the backbone's 5 blocks are trained, counted from the last.
        precision: ``"float32"``; ``"bfloat16"`` or, on a GPU, ``"float16"`` for automatic mixed precision.
        devices: how many GPUs (or processes on a CPU) share the work.
        workers: processes that read images for each device; 0 to read them in the run's own process.
        seed: of everything random: new heads, order, flips, sampling.

    Raises:
        SettingsError: a value is out of range.

    Example:
        >>> TrainingSettings(epochs=20).learning_rate
        0.0001
    """

    epochs: int = 10
    batch_size: int = 2
    learning_rate: float = 1e-4
    warmup_steps: int | None = None
    weight_decay: float = 0.01
    clip: float = 10.0
    flip: float = 0.5
    scale_jitter: tuple[float, float] | None = (0.75, 1.25)
    trainable_backbone_layers: int = 3
    precision: Precision = "float32"
    devices: int = 1
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (minimum, maximum) in _INTEGERS.items():
            value = getattr(self, name)
            valid = isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
            if not valid and not (value is None and name == "warmup_steps"):
                raise SettingsError(f"{name} is a whole number from {minimum} to {maximum:,}, not {value!r}")
        for name, (low, high) in _FLOATS.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
                raise SettingsError(f"{name} is a number from {low:g} to {high:g}, not {value!r}")
        if self.precision not in get_args(Precision):
            raise SettingsError(f"precision is one of {', '.join(get_args(Precision))}, not {self.precision!r}")
        jitter = self.scale_jitter
        if jitter is not None and not (len(jitter) == 2 and 0.1 <= jitter[0] <= jitter[1] <= 4):
            raise SettingsError(f"scale_jitter is two factors from 0.1 to 4, the smaller first, not {jitter!r}")

    def result_settings(self) -> Mapping[str, Any]:
        """The settings that the result depends on, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "workers"}


_INTEGERS: Mapping[str, tuple[int, int]] = {
    "epochs": (1, 100_000),
    "batch_size": (1, 1024),
    "warmup_steps": (0, 10_000_000),
    "trainable_backbone_layers": (0, 5),
    "devices": (1, 1024),
    "workers": (0, 256),
    "seed": (0, 2**31),
}
_FLOATS: Mapping[str, tuple[float, float]] = {
    "learning_rate": (1e-9, 10),
    "weight_decay": (0, 1),
    "clip": (1e-6, 1e6),
    "flip": (0, 1),
}
