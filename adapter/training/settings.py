"""The settings of a training run: the one declaration of their defaults and bounds, for all rooms. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from maskbridge.adapter.settings import FloatPrecision
from maskbridge.adapter.validation import Fraction, Validated

Epochs = Annotated[int, Field(ge=1, le=100_000, description="Passes over all images.")]
BatchSize = Annotated[int, Field(ge=1, le=1024, description="Images in a step on each device.")]
LearningRate = Annotated[
    float, Field(gt=0, le=1, description="Learning rate of AdamW after the warm-up; it falls to 0 along a cosine.")
]
ValidationFraction = Annotated[
    float, Field(ge=0, le=0.9, description="Fraction of the images used for validation, chosen by their names.")
]

VALIDATION_FRACTION: ValidationFraction = 0.1
"""The default fraction of the images used for validation."""


class TrainingSettings(Validated):
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
        copy_paste: the probability that objects of another training image are pasted into an image
            (https://arxiv.org/abs/2012.07177).
        ema_decay: the decay of an exponential moving average of the weights, which is then what is validated and saved;
            0 for the weights themselves.
        trainable_backbone_layers: how many of the backbone's 5 blocks are trained, counted from the last.
        precision: ``"float32"``; ``"bfloat16"`` or, on a GPU, ``"float16"`` for automatic mixed precision.
        devices: how many GPUs (or processes on a CPU) share the work.
        workers: processes that read images for each device; 0 to read them in the run's own process.
        seed: of everything random: new heads, order, flips, sampling.

    Raises:
        SettingsError: a name is unknown or a value is out of range.

    Example:
        >>> TrainingSettings(epochs=20).learning_rate
        0.0001
    """

    epochs: Epochs = 10
    batch_size: BatchSize = 2
    learning_rate: LearningRate = 1e-4
    warmup_steps: Annotated[
        int | None,
        Field(ge=0, le=10_000_000, description="Steps of the warm-up; by default a tenth of all, at most 1,000."),
    ] = None
    weight_decay: Fraction = 0.01
    clip: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    flip: Fraction = 0.5
    scale_jitter: Annotated[
        tuple[float, float] | None,
        Field(
            strict=False,
            description="Minimum and maximum scale of an image.",
            json_schema_extra={"allowed": "two factors from 0.1 to 4, the smaller first"},
        ),
    ] = (0.75, 1.25)
    copy_paste: Annotated[
        Fraction, Field(description="Probability that objects of another image are pasted into an image.")
    ] = 0.0
    ema_decay: Annotated[
        float,
        Field(ge=0, le=0.99999, description="Decay of the moving average of the weights, which is saved; 0 for none."),
    ] = 0.0
    trainable_backbone_layers: Annotated[
        int, Field(ge=0, le=5, description="Blocks of the backbone to train, from the last.")
    ] = 3
    precision: FloatPrecision = "float32"
    devices: Annotated[int, Field(ge=1, le=1024, description="Number of GPUs.")] = 1
    workers: Annotated[int, Field(ge=0, le=256, description="Processes that read images.")] = 0
    seed: Annotated[int, Field(ge=0, le=2**31, description="Random seed.")] = 0

    @field_validator("scale_jitter")
    @classmethod
    def _two_factors(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0.1 <= value[0] <= value[1] <= 4:
            raise ValueError(f"two factors from 0.1 to 4, the smaller first, not {value!r}")
        return value

    def result_settings(self) -> Mapping[str, Any]:
        """The settings that the result depends on, ready for JSON.

        Example:
            >>> "workers" in TrainingSettings().result_settings()
            False
        """
        return self.model_dump(exclude={"workers"})
