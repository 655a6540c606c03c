"""Connections with a deadline, to checked addresses: the network part of fetching."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import httpcore

from maskbridge.labelstudio.certificates import tls_context

_deadline: ContextVar[float] = ContextVar("maskbridge_fetch_deadline")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limits the time that this thread spends on connections of a `pool`, in seconds, however slowly bytes arrive.

    Example:
        >>> with time_limit(30):
        ...     pass  # requests of a `pool` raise httpcore.TimeoutException after 30 seconds
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def pool(addresses: Callable[[str, int], Sequence[str]], connections: int) -> httpcore.ConnectionPool:
    """A connection pool, which threads may share.

    Args:
        addresses: returns the addresses to connect to for (host, port); its exceptions are not caught.
        connections: maximum number of open connections.

    Raises:
        SettingsError: ``SSL_CERT_FILE`` cannot be read.
    """
    return httpcore.ConnectionPool(
        ssl_context=tls_context(),
        max_connections=connections,
        max_keepalive_connections=connections,
        keepalive_expiry=30,
        network_backend=_Backend(addresses),
    )


def _remaining(timeout: float | None) -> float:
    remaining = _deadline.get() - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the time limit of this image has passed")
    return remaining if timeout is None else min(timeout, remaining)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, addresses: Callable[[str, int], Sequence[str]]) -> None:
        self._addresses = addresses
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception | None = None
        for address in self._addresses(host, port):
            try:
                return _Stream(self._inner.connect_tcp(address, port, _remaining(timeout), local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        raise error or httpcore.ConnectError(f"no address for {host}")

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("images are not fetched through Unix sockets")

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _remaining(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _remaining(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _remaining(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
