"""The server's settings: from the command line, else from ``MASKBRIDGE_*`` in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from maskbridge.adapter.confidence import confidence_of
from maskbridge.adapter.errors import SettingsError, nearest
from maskbridge.adapter.settings import EngineName, Precision
from maskbridge.adapter.training.settings import (
    VALIDATION_FRACTION,
    BatchSize,
    Epochs,
    LearningRate,
    TrainingSettings,
    ValidationFraction,
)
from maskbridge.adapter.validation import Fraction
from maskbridge.adapter.weights.class_names import parse_class_names
from maskbridge.labelstudio.settings import LabelStudioSettings, read_settings

_TRAINING = TrainingSettings()


def _confidence_text(value: Any) -> str:
    try:
        return str(confidence_of(value))
    except SettingsError as error:
        raise ValueError(str(error).removeprefix("confidence_threshold is ")) from None


class ServerSettings(LabelStudioSettings):
    """Settings of ``maskbridge serve``; `server_settings` reads and checks them.

    Each field is read from the environment variable ``MASKBRIDGE_`` and its name in capitals. List items are separated by
    commas.
    """

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(9090, ge=1, le=65535, description="Port to listen on.")
    weights: str = Field("DEFAULT", description="bundled, COCO_V1, a file of safetensors or torch, or https://…#sha256=…")
    builder: str | None = Field(None, description="The network's builder, if the weights do not name it.")
    class_names: str | None = Field(
        None, description="Names of the weights' classes, or a file of them, if they have none."
    )
    norm_eps: float | None = Field(None, ge=0, le=1, description="Epsilon of frozen norms in a .pth file.")
    confidence: Annotated[str, BeforeValidator(_confidence_text)] = Field(
        "0.5", description="Objects with a score above it are detected; or one for each class: person=0.6,dog=0.4."
    )
    mask_threshold: Fraction = Field(0.5, description="Pixels of at least this probability are in a mask.")
    max_detections: int = Field(100, ge=1, description="Maximum number of objects in an image.")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, …; by default a GPU if there is one.")
    precision: Precision = Field(
        "auto",
        description="auto (int8 for weights of `maskbridge quantize`, else float32), float32, bfloat16, float16, int8.",
    )
    engine: EngineName = Field(
        "torch", description="What runs the network's layers: torch, openvino, onnxruntime or auto (docs/engines.md)."
    )
    streams: int | None = Field(
        None, ge=1, le=64, description="Images predicted at once on a CPU; by default a quarter of its threads, 2 to 4."
    )
    batch_size: int | None = Field(
        None, ge=1, description="Images given to the model at once; by default 2 for each stream on a CPU, 8 on a GPU."
    )

    basic_auth_user: str | None = Field(None, description="User name for basic auth, which all but /health then require.")
    basic_auth_pass: SecretStr | None = Field(None, description="Password for basic auth.")

    train_every: int = Field(
        0, ge=0, description="New or changed annotations of a project that start a training run; 0 for never."
    )
    training_epochs: Epochs = _TRAINING.epochs
    training_batch_size: BatchSize = _TRAINING.batch_size
    training_learning_rate: LearningRate = _TRAINING.learning_rate
    training_validation: ValidationFraction = VALIDATION_FRACTION
    training_segment_boxes: bool = Field(False, description="Whether to predict masks for rectangles and train on them.")
    keep_training_images: bool = Field(False, description="Whether a project's images are kept after a training run.")
    keep_versions: int = Field(5, ge=1, description="Trained versions to keep for each project.")
    keep_megabytes: int = Field(5_000, ge=1, description="Disk space for the trained versions of all projects.")

    deadline: float = Field(80, gt=0, le=3600, description="Seconds after which a request returns the results so far.")
    queue_size: int = Field(2000, ge=1, description="Images that may wait; further ones get an empty answer immediately.")
    requests_at_once: int = Field(32, ge=1, le=500, description="Maximum number of prediction requests at the same time.")
    cache_megabytes: int = Field(256, ge=0, description="Memory for cached predictions.")
    click_cache_megabytes: int = Field(512, ge=0, description="Memory for the features of images with clicks.")
    max_request_megabytes: int = Field(256, ge=1, description="Largest request body.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level of log messages.")

    @model_validator(mode="after")
    def _both_of_basic_auth(self) -> ServerSettings:
        if (self.basic_auth_user is None) != (self.basic_auth_pass is None):
            raise ValueError("basic_auth_user and basic_auth_pass must be set together or not at all")
        return self

    def own_weights(self) -> dict[str, Any]:
        """The arguments of `maskbridge.adapter.MaskRCNN` for the server's own weights."""
        names = parse_class_names(self.class_names)
        return {"weights": self.weights, "builder": self.builder, "class_names": names, "norm_eps": self.norm_eps}

    def with_secrets(self) -> dict[str, Any]:
        """All settings with secrets as plain text, for the standard input of a process of ours; never log them."""
        values = self.model_dump()
        return {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}

    def loggable(self) -> dict[str, str]:
        """The settings as they may be logged: secrets are masked."""
        return {name: str(value) for name, value in self.model_dump().items() if value is not None}


def server_settings(**values: Any) -> ServerSettings:
    """The settings: from ``values`` (None is ignored), else from the environment, else the defaults.

    Raises:
        SettingsError: a value is invalid; the message names the setting, and does not show the value of a secret.
    """
    return read_settings(ServerSettings, values)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A message for each ``MASKBRIDGE_*`` variable that is not a setting.

    Example:
        >>> unknown_variables({"MASKBRIDGE_PROT": "80", "MASKBRIDGE_PORT": "80"})
        ["MASKBRIDGE_PROT is not a setting: did you mean 'PORT'?"]
    """
    prefix = "MASKBRIDGE_"
    names = ["HOME", *(name.upper() for name in ServerSettings.model_fields)]
    unknown = sorted(name.removeprefix(prefix) for name in environment if name.startswith(prefix))
    return [f"{prefix}{name} is not a setting: {nearest(name, names, show=3)}" for name in unknown if name not in names]
