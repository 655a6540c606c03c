"""The server's settings: from the command line, else ``MASKBRIDGE_*`` in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from maskbridge.adapter.errors import nearest
from maskbridge.labelstudio.settings import LabelStudioSettings, read_settings


class ServerSettings(LabelStudioSettings):
    """Settings of ``maskbridge serve``; `server_settings` reads and checks them.

    Every field is also an environment variable: ``MASKBRIDGE_`` and its name in capitals. Lists are separated by commas.
    """

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(9090, ge=1, le=65535, description="Port to listen on.")
    weights: str = Field("DEFAULT", description="bundled, COCO_V1, a .safetensors or .pth file, or https://…#sha256=…")
    builder: str | None = Field(None, description="The network, where the weights do not say it.")
    confidence: float = Field(0.5, ge=0, le=1, description="Objects with a score above it are found.")
    mask_threshold: float = Field(0.5, ge=0, le=1, description="Pixels of at least this probability are in a mask.")
    max_detections: int = Field(100, ge=1, description="Most objects in an image.")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, …; a GPU where there is one by default.")
    autocast: Literal["bfloat16", "float16"] | None = Field(None, description="Faster, less exact arithmetic on a GPU.")
    batch_size: int | None = Field(None, ge=1, description="Images run together; 1 on a CPU, 8 on a GPU by default.")

    basic_auth_user: str | None = Field(None, description="Who may ask; all but /health then needs it.")
    basic_auth_pass: SecretStr | None = Field(None, description="The password for it.")

    train_every: int = Field(0, ge=0, description="New annotations of a project after which it is trained on; 0 for never.")
    training_epochs: int = Field(10, ge=1, le=10_000, description="How often a training sees all images.")
    training_batch_size: int = Field(2, ge=1, le=1024, description="Images in a step of a training.")
    training_learning_rate: float = Field(1e-4, gt=0, le=1, description="AdamW's.")
    training_validation: float = Field(0.2, ge=0, le=0.9, description="Part of a project's images that is kept to measure.")
    training_segment_boxes: bool = Field(False, description="Whether rectangles are trained on with masks made for them.")
    keep_versions: int = Field(5, ge=1, description="Trained versions of a project that are kept.")
    keep_megabytes: int = Field(5_000, ge=1, description="Disk for the trained versions of all projects.")

    deadline: float = Field(80, gt=0, le=3600, description="Seconds after which a request gets what is done.")
    queue_size: int = Field(2000, ge=1, description="Images that may wait; those beyond it are answered empty at once.")
    requests_at_once: int = Field(32, ge=1, le=500, description="Prediction requests that are accepted at once.")
    cache_megabytes: int = Field(256, ge=0, description="Memory for predictions that may be asked for again.")
    click_cache_megabytes: int = Field(512, ge=0, description="Memory for images that people click in.")
    max_request_megabytes: int = Field(256, ge=1, description="Largest request.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @model_validator(mode="after")
    def _both_of_basic_auth(self) -> ServerSettings:
        if (self.basic_auth_user is None) != (self.basic_auth_pass is None):
            raise ValueError("basic_auth_user and basic_auth_pass are given together or not at all")
        return self

    def in_clear(self) -> dict[str, Any]:
        """All settings for another process of ours, secrets in clear: for its standard input, never for a log."""
        values = self.model_dump()
        return {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in values.items()}

    def shown(self) -> dict[str, str]:
        """The settings for people, secrets hidden."""
        return {name: str(value) for name, value in self.model_dump().items() if value is not None}


def server_settings(**given: Any) -> ServerSettings:
    """The settings: what is given (None stands for nothing), else the environment, else the defaults.

    Raises:
        SettingsError: a value is wrong; the setting is named, a secret's value is not shown.
    """
    return read_settings(ServerSettings, given)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What to say of each ``MASKBRIDGE_*`` variable that is none of the settings.

    Example:
        >>> unknown_variables({"MASKBRIDGE_PROT": "80", "MASKBRIDGE_PORT": "80"})
        ["MASKBRIDGE_PROT is not a setting: did you mean 'MASKBRIDGE_PORT'?"]
    """
    known = ["MASKBRIDGE_HOME", *(f"MASKBRIDGE_{name.upper()}" for name in ServerSettings.model_fields)]
    return [
        f"{name} is not a setting: {nearest(name, known, show=3)}"
        for name in sorted(environment)
        if name.startswith("MASKBRIDGE_") and name not in known
    ]
