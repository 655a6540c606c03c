"""Label Studio itself: its address, and the token, which is sent to that address only."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import httpx

from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.certificates import UNTRUSTED, is_untrusted, tls_context
from maskbridge.labelstudio.errors import TaskImageError

_IMAGE_PATHS = re.compile(r"/data/.+|/(tasks|projects)/\d+/(resolve|presign)/?|/api/projects/\d+/file-proxy/?")
_LOOKS_LIKE_LABEL_STUDIO = re.compile(r"/data/(upload|local-files)/|/(tasks|projects)/\d+/(resolve|presign)/")
_CLOUD = ("s3", "s3s", "gs", "azure-blob", "azure_blob", "azure-spi", "azure_spi", "gcs", "dbfs", "redis")
_ORIGIN = re.compile(r"^[\w+.-]+://[^/?#]*")
_FILE_NAME = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_PATH = re.compile(r"/(data|tasks|projects|api|user|static)/|(/[^/]{0,40}){1,8}$")


@dataclass(frozen=True)
class LabelStudio:
    """The Label Studio that tasks come from.

    Attributes:
        url: its address, such as ``https://labels.example.org`` or, under a path, ``https://example.org/labels``.
        token: a personal access token (refreshed as needed) or a legacy token; None for no token.
        public_urls: further addresses that tasks may have for it. Images there are requested from ``url``; nothing is ever
            sent to these addresses.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    public_urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if base_url(self.url) is None:
            raise SettingsError(f"Label Studio's address is http(s)://host[:port][/path], not {self.url!r}")
        for url in self.public_urls:
            if base_url(url) is None:
                raise SettingsError(f"a public address of Label Studio is http(s)://host[:port][/path], not {url!r}")

    @cached_property
    def base(self) -> httpx.URL:
        """Its address, parsed."""
        url = base_url(self.url)
        assert url is not None  # noqa: S101 (checked when it was made)
        return url

    def owns(self, url: httpx.URL) -> bool:
        """Whether an absolute address has Label Studio's own scheme, host and port."""
        return (url.scheme, url.raw_host, url.port) == (self.base.scheme, self.base.raw_host, self.base.port)

    def own_image(self, value: str, public_url: str | None = None) -> httpx.URL | None:
        """The address at which an image that Label Studio itself serves is requested; None for an address elsewhere.

        Args:
            value: from a task's data: a path on its host, or an absolute address there.
            public_url: a further public address, for this image.

        Raises:
            TaskImageError: it is a path, or on its host, but not where Label Studio keeps images.
        """
        public = [base for text in (*self.public_urls, public_url or "") if (base := base_url(text)) is not None]
        absolute = parse_url(value) if _ORIGIN.match(value) else None
        is_own = absolute is None or self.owns(absolute)
        if absolute is not None and not is_own and not any(_same_host(absolute, base) for base in public):
            return None
        path, _, query = _ORIGIN.sub("", value).partition("#")[0].partition("?")
        path = re.sub(r"/{2,}", "/", path)
        for prefix in sorted({base.path.rstrip("/") for base in (self.base, *public)}, key=len, reverse=True):
            if prefix and path.startswith(f"{prefix}/"):
                path = path.removeprefix(prefix)
                break
        if not has_path_traversal(path) and not has_parent_folder(query) and _IMAGE_PATHS.fullmatch(path):
            query = query.replace("\\", "%5C")  # local files of a Label Studio on Windows
            return parse_url(f"{self.base}{path}" + (f"?{query}" if query else ""))
        if not is_own:
            return None
        hint = ""
        if _LOOKS_LIKE_LABEL_STUDIO.search(path):
            hint = ": if Label Studio is under a path, set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL to its address with that path"
        raise TaskImageError("address", f"{loggable(value)} is not a path at which Label Studio keeps images{hint}")

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
        except (TaskImageError, SettingsError):
            raise
        except Exception as error:  # the SDK's, httpx's or jwt's
            reason = f"Label Studio at {self.url} gave no access for the token: {reason_of(error)}"
            raise TaskImageError("login", reason) from None
        return {"Authorization": headers["Authorization"]}

    @cached_property
    def client(self) -> Any:
        """Label Studio's SDK client, with the token; created at first use."""
        from label_studio_sdk import LabelStudio as Client

        # Redirects are not followed: the token would be sent along.
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [_without_doubled_slashes], "response": [_refuse_redirect]}
        http = httpx.Client(follow_redirects=False, timeout=10, trust_env=False, verify=tls_context(), event_hooks=hooks)
        # The slash: without it the SDK asks for access tokens at the root of the host, not under Label Studio's path.
        return Client(base_url=f"{self.base}/", api_key=self.token, httpx_client=http)


def _without_doubled_slashes(request: httpx.Request) -> None:
    path, mark, query = request.url.raw_path.partition(b"?")
    request.url = request.url.copy_with(raw_path=re.sub(rb"/{2,}", b"/", path) + mark + query)


def _refuse_redirect(response: httpx.Response) -> None:
    if response.has_redirect_location:
        raise redirected(str(response.url), response.headers["location"])


def redirected(url: str, location: str) -> TaskImageError:
    """Why a redirect of Label Studio's own address is not followed."""
    target = loggable(location)
    advice = f"set MASKBRIDGE_LABEL_STUDIO_URL to the address that it redirects to, with {target.partition(':')[0]}://"
    if "/user/login" in target or not target.startswith("http"):
        advice = "set MASKBRIDGE_LABEL_STUDIO_URL to Label Studio's address"
    return TaskImageError("address", f"{loggable(url)} redirects to {target}: {advice}")


def reason_of(error: Exception) -> str:
    """Why Label Studio's API did not answer, without the error's own text, which may hold the token.

    Example:
        >>> reason_of(ConnectionRefusedError("with a token"))
        'ConnectionRefusedError'
    """
    status = getattr(error, "status_code", None)
    return f"it answered {status}" if status else UNTRUSTED if is_untrusted(error) else type(error).__name__


def base_url(text: str) -> httpx.URL | None:
    """The address of a Label Studio, parsed; None if it is not http(s)://host[:port][/path].

    Example:
        >>> base_url("https://example.org/labels/"), base_url("ftp://host") is None
        (URL('https://example.org/labels'), True)
    """
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except (httpx.InvalidURL, ValueError):
        return None
    return url if url.scheme in ("http", "https") and url.host and not url.query and not url.userinfo else None


def looks_like_label_studio(path: str) -> bool:
    """Whether the path of an address is one at which a Label Studio keeps images."""
    return _LOOKS_LIKE_LABEL_STUDIO.search(path) is not None


def _same_host(url: httpx.URL, base: httpx.URL) -> bool:
    """Whether two addresses have the same host and port; http and https on their usual ports count as the same."""
    return (url.raw_host, url.port) == (base.raw_host, base.port)


def is_cloud(value: str) -> bool:
    """Whether a value is a URI that only Label Studio's storages can resolve."""
    scheme, separator, _ = value.partition("://")
    return bool(separator) and scheme.lower() in _CLOUD


def has_path_traversal(text: str) -> bool:
    """Whether a path contains ``..`` segments, backslashes or null bytes, also percent-encoded (even twice)."""
    return "\\" in unquote(unquote(text)) or has_parent_folder(text)


def has_parent_folder(text: str) -> bool:
    """Whether a path or query contains ``..`` segments or null bytes; backslashes separate segments too.

    Example:
        >>> has_parent_folder("d=folder\\\\a.jpg"), has_parent_folder("d=..%5Ca.jpg")
        (False, True)
    """
    decoded = unquote(unquote(text))
    return ".." in re.split(r"[/\\=&?]", decoded) or "\0" in decoded


def loggable(value: str) -> str:
    """The value of an image tag as it may be logged.

    Of an address neither the query (signatures), nor a password or fragment is shown, and at most 200 characters; of other
    texts, which may be data, only the length.

    Example:
        >>> loggable("https://me:secret@bucket.example.org/a.jpg?Signature=abc"), loggable("/9j/4AAQSkZJRgABAQAA" * 9)
        ('https://bucket.example.org/a.jpg', 'a text of 180 characters')
    """
    if value[:5].lower() == "data:":
        return "a data URL"
    text = re.sub(r"(?<=://)[^/?#]*@", "", value.partition("#")[0].partition("?")[0])
    is_path = len(text) <= 300 and _PATH.match(text)
    if not (_ORIGIN.match(text) or (len(text) <= 100 and _FILE_NAME.search(text)) or is_path):
        return f"a text of {len(value):,} characters"
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
