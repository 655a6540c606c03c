"""Settings for reaching Label Studio and fetching images, from ``MASKBRIDGE_*`` in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from maskbridge.adapter.errors import SettingsError
from maskbridge.adapter.validation import problems_of

if TYPE_CHECKING:
    from maskbridge.labelstudio.client import LabelStudio

S = TypeVar("S", bound=BaseSettings)


class LabelStudioSettings(BaseSettings):
    """Label Studio's address and token, and the limits of fetching images; `label_studio_settings` reads and checks them.

    Each field is read from the environment variable ``MASKBRIDGE_`` and its name in capitals. List items are separated by
    commas.
    """

    model_config = SettingsConfigDict(env_prefix="MASKBRIDGE_", extra="ignore", frozen=True, hide_input_in_errors=True)

    label_studio_url: str = Field("http://localhost:8080", description="Label Studio's address, as seen from this machine.")
    label_studio_public_url: str = Field(
        "", description="Addresses that tasks have for Label Studio, if they are others than label_studio_url."
    )
    label_studio_token: SecretStr | None = Field(None, description="A personal access token (or a legacy token).")
    allowed_hosts: str = Field("", description="Hosts and networks with private addresses that images may be fetched from.")
    training_megabytes: int = Field(10_000, ge=1, description="Disk space for the images of a project to train on.")
    fetch_threads: int = Field(16, ge=1, le=200, description="Images fetched in parallel.")
    fetch_seconds: float = Field(30, gt=0, description="Time limit for fetching one image.")
    max_image_megabytes: int = Field(100, ge=1, description="Largest image file.")
    max_megapixels: int = Field(100, ge=1, le=178, description="Largest image, in millions of pixels.")

    def label_studio(self) -> LabelStudio:
        """Label Studio, with its token and public addresses.

        Raises:
            SettingsError: an address is malformed.
        """
        from maskbridge.labelstudio.client import LabelStudio

        return LabelStudio(self.label_studio_url, self.token(), _parts(self.label_studio_public_url))

    def hosts(self) -> list[str]:
        """``allowed_hosts`` as a list."""
        return list(_parts(self.allowed_hosts))

    def token(self) -> str | None:
        """Label Studio's token as plain text; None if it is not set or empty."""
        return self.label_studio_token.get_secret_value().strip() or None if self.label_studio_token else None


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def label_studio_settings(**values: Any) -> LabelStudioSettings:
    """The settings: from ``values`` (None is ignored), else from the environment, else the defaults.

    Raises:
        SettingsError: a value is invalid; the message names the setting, and does not show the value of a secret.

    Example:
        >>> label_studio_settings(fetch_threads=4).fetch_threads
        4
    """
    return read_settings(LabelStudioSettings, values)


def read_settings(settings_class: type[S], values: Mapping[str, Any]) -> S:
    """Settings of a class: from ``values`` (None is ignored), else from the environment, else the defaults.

    Raises:
        SettingsError: a value is invalid; the message names the setting, and does not show the value of a secret.
    """
    try:
        return settings_class(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        problems = problems_of(error, settings_class).items()
        texts = [f"{name} (MASKBRIDGE_{name.upper()} in the environment): {p}" if name else p for name, p in problems]
        raise SettingsError("; ".join(texts), problems=dict(problems)) from None
