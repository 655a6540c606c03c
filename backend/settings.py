"""What the server can be told, on the command line or as ``MASKBRIDGE_*`` in the environment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maskbridge.adapter.errors import SettingsError


class ServerSettings(BaseSettings):
    """Settings of ``maskbridge serve``; `server_settings` reads and checks them.

    Every field is also an environment variable: ``MASKBRIDGE_`` and its name in capitals. Lists are separated by commas.
    """

    model_config = SettingsConfigDict(env_prefix="MASKBRIDGE_", extra="ignore", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(9090, ge=1, le=65535, description="Port to listen on.")
    weights: str = Field("DEFAULT", description="bundled, COCO_V1, a .safetensors or .pth file, or https://…#sha256=…")
    builder: str | None = Field(None, description="The network, where the weights do not say it.")
    confidence: float = Field(0.5, ge=0, le=1, description="Objects with a score above it are found.")
    mask_threshold: float = Field(0.5, ge=0, le=1, description="Pixels of at least this probability are in a mask.")
    max_detections: int = Field(100, ge=1, description="Most objects in a photo.")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, …; a GPU where there is one by default.")
    autocast: Literal["bfloat16", "float16"] | None = Field(None, description="Faster, less exact arithmetic on a GPU.")
    batch_size: int | None = Field(None, ge=1, description="Photos run together; 1 on a CPU, 8 on a GPU by default.")

    label_studio_url: str = Field("http://localhost:8080", description="Label Studio's address, as this server reaches it.")
    label_studio_token: SecretStr | None = Field(None, description="A personal access token (or a legacy token).")
    allowed_hosts: str = Field("", description="Hosts and networks with private addresses that may be asked for photos.")
    basic_auth_user: str | None = Field(None, description="Who may ask; all but /health then needs it.")
    basic_auth_pass: SecretStr | None = Field(None, description="The password for it.")

    train_every: int = Field(0, ge=0, description="New annotations of a project after which it is trained on; 0 for never.")
    training_epochs: int = Field(10, ge=1, le=10_000, description="How often a training sees all photos.")
    training_batch_size: int = Field(2, ge=1, le=1024, description="Photos in a step of a training.")
    training_learning_rate: float = Field(1e-4, gt=0, le=1, description="AdamW's.")
    training_validation: float = Field(0.2, ge=0, le=0.9, description="Part of a project's photos that is kept to measure.")
    training_segment_boxes: bool = Field(False, description="Whether rectangles are trained on with masks made for them.")
    training_megabytes: int = Field(10_000, ge=1, description="Disk for the photos of a project that is trained on.")
    keep_versions: int = Field(5, ge=1, description="Trained versions of a project that are kept.")
    keep_megabytes: int = Field(5_000, ge=1, description="Disk for the trained versions of all projects.")

    deadline: float = Field(80, gt=0, le=3600, description="Seconds after which a request gets what is done.")
    queue_size: int = Field(2000, ge=1, description="Photos that may wait; those beyond it are answered empty at once.")
    requests_at_once: int = Field(32, ge=1, le=500, description="Prediction requests that are accepted at once.")
    cache_megabytes: int = Field(256, ge=0, description="Memory for predictions that may be asked for again.")
    click_cache_megabytes: int = Field(512, ge=0, description="Memory for photos that people click in.")
    fetch_threads: int = Field(16, ge=1, le=200, description="Photos fetched side by side.")
    fetch_seconds: float = Field(30, gt=0, description="Longest time for fetching one photo.")
    max_photo_megabytes: int = Field(100, ge=1, description="Largest photo file.")
    max_megapixels: int = Field(100, ge=1, le=178, description="Largest photo.")
    max_request_megabytes: int = Field(256, ge=1, description="Largest request.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @model_validator(mode="after")
    def _both_of_basic_auth(self) -> ServerSettings:
        if (self.basic_auth_user is None) != (self.basic_auth_pass is None):
            raise ValueError("basic_auth_user and basic_auth_pass are given together or not at all")
        return self

    def hosts(self) -> list[str]:
        """``allowed_hosts`` as a list."""
        return [part.strip() for part in self.allowed_hosts.split(",") if part.strip()]

    def token(self) -> str | None:
        """Label Studio's token in clear; an empty one is none."""
        return self.label_studio_token.get_secret_value().strip() or None if self.label_studio_token else None

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
    try:
        return ServerSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name} (MASKBRIDGE_{name.upper()} in the environment): {reason}") from None
