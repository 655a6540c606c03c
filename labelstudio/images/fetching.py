"""Fetches the images of tasks: every address is checked, and every request has limits."""

from __future__ import annotations

import base64
import binascii
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from maskbridge.labelstudio.certificates import UNTRUSTED, is_untrusted
from maskbridge.labelstudio.client import (
    LabelStudio,
    has_path_traversal,
    is_cloud,
    loggable,
    looks_like_label_studio,
    parse_url,
    redirected,
)
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.address_filter import AddressFilter, resolve
from maskbridge.labelstudio.images.transport import pool, time_limit
from maskbridge.labelstudio.settings import LabelStudioSettings

_REDIRECTS = {301, 302, 303, 307, 308}
_RETRYABLE = {408, 425, 429, 500, 502, 503, 504}
"""HTTP status codes after which a retry may help."""
_MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Limits:
    """Limits of fetching one image: seconds to connect, to wait for data, and in total; bytes; and number of tries."""

    connect: float = 5.0
    read: float = 10.0
    total: float = 30.0
    size: int = 100_000_000
    tries: int = 3


def make_fetcher(settings: LabelStudioSettings, label_studio: LabelStudio, *, connections: int | None = None) -> Fetcher:
    """A fetcher with the limits of the settings; by default with one connection for each fetch thread.

    Example:
        >>> from maskbridge.labelstudio.settings import label_studio_settings
        >>> settings = label_studio_settings()
        >>> make_fetcher(settings, LabelStudio("http://localhost:8080", None)).fetch("data:,a", None)
        b'a'
    """
    return Fetcher(
        label_studio,
        AddressFilter(settings.hosts()),
        Limits(total=settings.fetch_seconds, size=settings.max_image_megabytes * 1_000_000),
        connections=settings.fetch_threads if connections is None else connections,
    )


class Fetcher:
    """Fetches the images of tasks. Threads may share one.

    Args:
        label_studio: serves uploads, its local files and cloud URIs. The token is sent to its configured host only, for
            paths at which it keeps images; after a redirect to another host the token is not sent again.
        address_filter: which other hosts images may be fetched from.
        limits: of one image.
        connections: maximum number of open connections, to Label Studio and to other hosts each.
    """

    def __init__(
        self, label_studio: LabelStudio, address_filter: AddressFilter, limits: Limits, *, connections: int = 32
    ) -> None:
        self._label_studio = label_studio
        self._limits = limits
        self._own = pool(resolve, connections)
        self._foreign = pool(address_filter.addresses, connections)

    def fetch(self, value: object, task_id: int | None = None, *, public_url: str | None = None) -> bytes:
        """The bytes of an image.

        Args:
            value: from the task's data: an http(s) or data URL, a path on Label Studio's host, or a cloud URI. Local files
                are never opened.
            task_id: the task's id, needed for cloud URIs.
            public_url: an address that the task may have for Label Studio itself, besides those of ``label_studio``; its
                images are requested at Label Studio's configured address.

        Raises:
            TaskImageError: the image cannot be fetched, or its address is not allowed.
        """
        if not isinstance(value, str) or not value.strip():
            raise TaskImageError("task", f"the task's data has {_kind(value)} where an image's address is expected")
        value = value.strip()
        if value[:5].lower() == "data:":
            return self._decode_data_url(value)
        url = self._absolute_url(value, task_id)
        with time_limit(self._limits.total):
            return self._get(url, public_url)

    def _absolute_url(self, value: str, task_id: int | None) -> str:
        if is_cloud(value):
            if task_id is None:
                raise TaskImageError("task", f"{loggable(value)} cannot be resolved without the task's id")
            return self._label_studio.cloud_url(value, task_id)
        if value.startswith("/"):
            return value
        url = parse_url(value)
        if url.scheme not in ("http", "https") or not url.host:
            reason = f"{loggable(value)} is neither an http(s) or data URL nor an image that Label Studio keeps"
            raise TaskImageError("address", reason)
        return value

    def _decode_data_url(self, url: str) -> bytes:
        head, separator, body = url.partition(",")
        if not separator or len(body) > self._limits.size * 4 // 3 + 4:
            raise TaskImageError("too_large" if separator else "task", "the data URL is malformed or too long")
        try:
            if head.lower().endswith(";base64"):
                return base64.b64decode(body, validate=True)
            return unquote_to_bytes(body)
        except (binascii.Error, ValueError):
            raise TaskImageError("image", "the data URL is not base64") from None

    def _get(self, url: str, public_url: str | None) -> bytes:
        """Follows redirects itself, to check each address; after one to another host the token is not sent again."""
        own = self._label_studio.own_image(url, public_url)
        if own is None:
            try:
                return self._get_foreign(url)
            except TaskImageError as error:
                raise _with_setting(error, url) from None
        for _ in range(_MAX_REDIRECTS + 1):
            body, location = self._get_with_retries(own, trusted=True)
            if location is None:
                return body
            target = _joined(own, location)
            following = self._label_studio.own_image(target, public_url)
            to_same_host = parse_url(target).raw_host == own.raw_host
            if following == own or (to_same_host and parse_url(target).path == own.path):  # to https, to a public address
                raise redirected(str(own), target)
            if following is None:
                return self._get_foreign(target)
            own = following
        raise TaskImageError("http", f"{loggable(url)}: more than {_MAX_REDIRECTS} redirects")

    def _get_foreign(self, url: str) -> bytes:
        """An image at an address that is not Label Studio's, or no longer trusted to be."""
        for _ in range(_MAX_REDIRECTS + 1):
            parsed = parse_url(url)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise TaskImageError("address", f"{loggable(url)} is not an http(s) address")
            if has_path_traversal(url.partition("?")[0]):  # as it was written: parsing removes ".."
                raise TaskImageError("address", f"{loggable(url)} has '..' or a backslash in its path")
            body, location = self._get_with_retries(parsed, trusted=False)
            if location is None:
                return body
            url = _joined(parsed, location)
        raise TaskImageError("http", f"{loggable(url)}: more than {_MAX_REDIRECTS} redirects")

    def _get_with_retries(self, url: httpx.URL, *, trusted: bool) -> tuple[bytes, str | None]:
        for attempt in range(self._limits.tries):
            last = attempt == self._limits.tries - 1
            try:
                return self._request(url, trusted)
            except _RetryableError as error:
                if last:
                    reason = f"{error} ({self._limits.tries} tries)"
                    raise TaskImageError(error.kind, f"{loggable(str(url))}: {reason}") from None
            except httpcore.TimeoutException:
                raise TaskImageError("timeout", f"{loggable(str(url))}: no answer in time") from None
            except (httpcore.NetworkError, httpcore.ProtocolError) as error:
                if is_untrusted(error):
                    raise TaskImageError("connection", f"{loggable(str(url))}: {UNTRUSTED}") from None
                if last:
                    reason = f"{type(error).__name__}: {str(error) or 'the connection was closed'}"
                    raise TaskImageError("connection", f"{loggable(str(url))}: {reason}") from None
            except (httpcore.UnsupportedProtocol, ValueError, UnicodeError):
                raise TaskImageError("address", f"{loggable(str(url))} is not an address that can be requested") from None
            time.sleep(0.2 * 2**attempt * (1 + random.random()))  # noqa: S311 (spreads the tries; no secret)
        raise AssertionError("unreachable")

    def _request(self, url: httpx.URL, trusted: bool) -> tuple[bytes, str | None]:
        """One request: (body, None), or (b"", location) if it redirects."""
        # No compression: images are compressed already, and a compressed body could expand to a thousand times its size.
        headers = {"User-Agent": "maskbridge", "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        headers |= self._label_studio.authorization() if trusted else {}
        limits = {"connect": self._limits.connect, "read": self._limits.read, "write": self._limits.read, "pool": 10.0}
        # Parsed once, so that the host that is checked is the host that is connected to.
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers = {"Host": url.netloc.decode("ascii"), **headers}
        connections = self._own if trusted else self._foreign
        with connections.stream("GET", target, headers=list(headers.items()), extensions={"timeout": limits}) as response:
            received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and "location" in received:
                self._check_login(received["location"], trusted)
                return b"", received["location"]
            self._check(response.status, received, str(url), trusted)
            return self._body(response, received, str(url)), None

    def _check(self, status: int, headers: Mapping[str, str], url: str, trusted: bool) -> None:
        if trusted and status in (401, 403):
            raise TaskImageError(
                "login",
                f"{loggable(url)}: Label Studio answered {status}: set MASKBRIDGE_LABEL_STUDIO_TOKEN to a valid token",
            )
        if status in (404, 410):
            raise TaskImageError("not_found", f"{loggable(url)}: not found ({status})")
        if status in _RETRYABLE:
            raise _RetryableError("http", f"the server answered {status}")
        if status != 200:
            raise TaskImageError("http", f"{loggable(url)}: the server answered {status}")
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise TaskImageError("http", f"{loggable(url)}: sent compressed although that was not requested")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limits.size:
            raise TaskImageError(
                "too_large", f"{loggable(url)}: {length} bytes, more than the {self._limits.size:,} allowed"
            )

    def _check_login(self, location: str, trusted: bool) -> None:
        if trusted and "/user/login" in location:
            raise TaskImageError(
                "login", "Label Studio asks for a login: set MASKBRIDGE_LABEL_STUDIO_TOKEN to a valid token"
            )

    def _body(self, response: httpcore.Response, headers: Mapping[str, str], url: str) -> bytes:
        body = bytearray()
        for chunk in response.iter_stream():
            body += chunk
            if len(body) > self._limits.size:
                raise TaskImageError("too_large", f"{loggable(url)}: more than the {self._limits.size:,} bytes allowed")
        return bytes(body)


class _RetryableError(TaskImageError):
    """A failure after which a retry may help."""


def _joined(url: httpx.URL, location: str) -> str:
    """Where a redirect leads; ``..`` in it is kept, to be refused."""
    if has_path_traversal(location.partition("?")[0]):
        raise TaskImageError("address", f"{loggable(location)} has '..' or a backslash in its path")
    try:
        return str(url.join(location))
    except (httpx.InvalidURL, ValueError):
        raise TaskImageError("address", f"{loggable(str(url))} redirects to an address that cannot be read") from None


def _with_setting(error: TaskImageError, url: str) -> TaskImageError:
    """The error of an address that looks like Label Studio's, with the setting that may be missing."""
    parsed = parse_url(url)
    if error.kind in ("too_large", "image") or not looks_like_label_studio(parsed.path):
        return error
    advice = f"if it is Label Studio's public address, set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL={parsed.scheme}://"
    return TaskImageError(error.kind, f"{error}; {advice}{parsed.netloc.decode('ascii')}")


def _kind(value: object) -> str:
    """What a value is, without its content."""
    names = {dict: "an object", list: "a list", str: "an empty text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number")
