"""Label Studio itself: its address, and the token, which is sent to that address only."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import httpx

from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.errors import TaskImageError

_IMAGE_PATHS = re.compile(r"/data/.+|/(tasks|projects)/\d+/(resolve|presign)/?|/api/projects/\d+/file-proxy/?")
_CLOUD = ("s3", "s3s", "gs", "azure-blob", "azure_blob", "azure-spi", "azure_spi", "gcs", "dbfs", "redis")


@dataclass(frozen=True)
class LabelStudio:
    """The Label Studio that tasks come from.

    Attributes:
        url: its address, such as ``https://labels.example.org`` or, under a path, ``https://example.org/labels``.
        token: a personal access token (refreshed as needed) or a legacy token; None for no token.
    """

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            base = self.base
            invalid = base.scheme not in ("http", "https") or not base.host or bool(base.query or base.userinfo)
        except httpx.InvalidURL:
            invalid = True
        if invalid:
            raise SettingsError(f"Label Studio's address is http(s)://host[:port][/path], not {self.url!r}")

    @cached_property
    def base(self) -> httpx.URL:
        """Its address, parsed."""
        return httpx.URL(self.url.rstrip("/"))

    def owns(self, url: httpx.URL) -> bool:
        """Whether an absolute address has Label Studio's own scheme, host and port."""
        return (url.scheme, url.raw_host, url.port) == (self.base.scheme, self.base.raw_host, self.base.port)

    def image_url(self, value: str) -> httpx.URL:
        """The absolute address of an image that Label Studio itself serves: an upload or one of its local files.

        Args:
            value: a path on its host, or an absolute address there.

        Raises:
            TaskImageError: it is not a path at which Label Studio keeps images.
        """
        path, _, query = re.sub(r"^\w+://[^/?#]*", "", value).partition("#")[0].partition("?")
        prefix = self.base.path.rstrip("/")
        path = path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path
        if has_path_traversal(path) or has_path_traversal(query) or not _IMAGE_PATHS.fullmatch(path):
            raise TaskImageError("address", f"{loggable(value)} is not a path at which Label Studio keeps images")
        return parse_url(f"{self.base}{path}" + (f"?{query}" if query else ""))

    def cloud_url(self, uri: str, task_id: int) -> str:
        """The address at which Label Studio resolves a cloud URI (``s3://…``) of a task."""
        code = base64.urlsafe_b64encode(uri.encode()).decode()
        return str(httpx.URL(f"{self.base}/tasks/{task_id}/resolve/", params={"fileuri": code}))

    def authorization(self) -> dict[str, str]:
        """The authorization header, to be sent to Label Studio's own host only; may request a fresh access token.

        Raises:
            TaskImageError: Label Studio cannot be reached or refuses the token.
        """
        if self.token is None:
            return {}
        try:
            headers = self.client._client_wrapper.get_headers()
        except Exception as error:  # the SDK's, httpx's or jwt's; its text is not repeated, since it may hold the token
            status = getattr(error, "status_code", None)
            reason = f"it answered {status}" if status else type(error).__name__
            raise TaskImageError("login", f"Label Studio gave no access for the token: {reason}") from None
        return {"Authorization": headers["Authorization"]}

    @cached_property
    def client(self) -> Any:
        """Label Studio's SDK client, with the token; created at first use."""
        from label_studio_sdk import LabelStudio as Client

        # Redirects are not followed: the token would be sent along.
        http = httpx.Client(follow_redirects=False, timeout=10, trust_env=False)
        return Client(base_url=self.url, api_key=self.token, httpx_client=http)


def is_cloud(value: str) -> bool:
    """Whether a value is a URI that only Label Studio's storages can resolve."""
    scheme, separator, _ = value.partition("://")
    return bool(separator) and scheme.lower() in _CLOUD


def has_path_traversal(text: str) -> bool:
    """Whether a path or query contains ``..`` segments, backslashes or null bytes, also percent-encoded (even twice)."""
    decoded = unquote(unquote(text))
    return "\\" in decoded or ".." in re.split(r"[/=&?]", decoded) or "\0" in decoded


def loggable(url: str) -> str:
    """An address as it may be logged: without query (signatures), password and fragment, and at most 200 characters.

    Example:
        >>> loggable("https://me:secret@bucket.example.org/a.jpg?Signature=abc")
        'https://bucket.example.org/a.jpg'
    """
    if url[:5].lower() == "data:":
        return "a data URL"
    text = re.sub(r"(?<=://)[^/?#]*@", "", url.partition("#")[0].partition("?")[0])
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 200 else text[:197] + "…"


def parse_url(text: str) -> httpx.URL:
    """An address, parsed.

    Raises:
        TaskImageError: it is malformed.
    """
    try:
        url = httpx.URL(text)
        invalid = "%" in url.host or not 0 < (url.port or 80) < 65536  # httpx quotes what no host has
    except (httpx.InvalidURL, ValueError):
        invalid = True
    if invalid:
        raise TaskImageError("address", f"{loggable(text)} is not an address that can be read")
    return url
