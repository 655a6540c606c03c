"""waitress, for slow and hostile clients, and with an end: what was accepted is answered before the server stops."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.backend.settings import ServerSettings

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 3000
SILENT_SECONDS = 30
"""A connection on which nothing happens for so long is closed."""
REQUEST_SECONDS = 120
"""A request that is not received completely after so long is refused."""
LATE_SECONDS = 5
"""How long requests that are half received when the server is stopped may take to arrive."""
SPARE_THREADS = 16
"""Threads beyond those of prediction requests, which wait, so that /health is always answered."""
_PARTIAL_BODIES = 4
"""Bodies that are not received completely may take so many times the size of the largest request, all together."""


class ServeError(MaskbridgeError):
    """The server cannot listen on its address."""


class Connections:
    """The server's sockets and threads. It listens from the start, and answers in `run`.

    Args:
        app: answers the requests.
        settings: name the address, and limit requests.

    Raises:
        ServeError: the address cannot be used.
    """

    def __init__(self, app: Flask, settings: ServerSettings) -> None:
        limit = _connection_limit()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            adjustments = Adjustments(
                listen=f"{host}:{settings.port}",
                connection_limit=limit,
                channel_timeout=SILENT_SECONDS,
                cleanup_interval=5,
                asyncore_use_poll=True,  # select fails above 1,024 sockets
                recv_bytes=1 << 16,
                max_request_body_size=settings.max_request_megabytes * 1_000_000 + 1,
                outbuf_high_watermark=1 << 50,  # a thread never waits for a client to read: the answer goes to a file
                ident=None,
            )
            self._map: dict[int, Any] = {}
            threads = ThreadedTaskDispatcher()
            self._servers = [
                _Server(app, self._map, dispatcher=threads, adj=adjustments, sockinfo=info) for info in adjustments.listen
            ]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServeError(f"the server cannot listen on {settings.host}:{settings.port}: {reason}") from None
        threads.set_thread_count(settings.requests_at_once + SPARE_THREADS)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Answers requests until ``stopped`` returns True; `wake` makes it look at once."""
        while not stopped():
            self._loop(1.0)

    def wake(self) -> None:
        """Ends a wait of `run` for the network. Threads and signal handlers may call it."""
        self._servers[0].pull_trigger()

    def finish(self, seconds: float) -> int:
        """Accepts no more connections, answers the requests received so far, and closes all connections.

        Args:
            seconds: time limit.

        Returns:
            The number of connections whose requests were not answered in time.
        """
        self._loop(0)  # connections that wait for being accepted, then their requests
        for server in self._servers:
            for _ in range(server.adj.backlog):
                server.handle_accept()
            wasyncore.dispatcher.close(server)
        self._loop(0)
        start = time.monotonic()
        while (busy := self._busy(time.monotonic() - start)) and time.monotonic() - start < seconds:
            self._loop(0.2)
        wasyncore.close_all(self._map, ignore_all=True)
        return busy

    def _loop(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._map, count=1)

    def _busy(self, seconds: float) -> int:
        """The number of connections with a request, after so many seconds of finishing; the others are closed."""
        busy = 0
        for channel in self._channels():
            receiving = channel.request is not None and not channel.request.empty and seconds < LATE_SECONDS
            if channel.requests or channel.total_outbufs_len or channel.close_when_flushed or receiving:
                busy += 1
            else:
                channel.will_close = True
        return busy

    def _channels(self) -> list[_Channel]:
        return [channel for server in self._servers for channel in list(server.active_channels.values())]


class _ErrorTask(ErrorTask):
    """waitress's own refusals, as JSON; what was refused is not repeated, since it may hold a token."""

    def execute(self) -> None:
        error = self.request.error
        text = f"{error.code} {error.reason}"
        if error.code == 413:
            text = too_large_message(self.channel.adj.max_request_body_size // 1_000_000)
        body = json.dumps({"error": text}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    """A connection with a client."""

    error_task_class = _ErrorTask
    began = 0.0
    """When the request that is being received began."""

    def received(self, data: bytes) -> Any:
        if self.request is None:
            self.began = time.time()
        result = super().received(data)
        if self.request is not None and self.request.body_bytes_received > self.adj.inbuf_overflow:
            partial = sum(channel.partial_bytes() for channel in list(self.server.active_channels.values()))
            if partial > _PARTIAL_BODIES * self.adj.max_request_body_size:
                log.warning("closed a connection: requests that are not received completely have %d bytes", partial)
                self.will_close = True
        return result

    def partial_bytes(self) -> int:
        """The size of the body that is being received, so far."""
        request = self.request  # another thread sets it to None
        return 0 if request is None else int(request.body_bytes_received)


class _Server(TcpWSGIServer):
    channel_class = _Channel

    def maintenance(self, now: float) -> None:
        """Closes connections that are silent, and those whose request takes too long to arrive."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.request is not None and not channel.requests and channel.began < now - REQUEST_SECONDS:
                channel.will_close = True


def too_large_message(megabytes: int) -> str:
    """The message for a request that is too large.

    Example:
        >>> too_large_message(256)
        'the request is larger than 256 MB (MASKBRIDGE_MAX_REQUEST_MEGABYTES): send fewer tasks in one request'
    """
    return f"the request is larger than {megabytes} MB (MASKBRIDGE_MAX_REQUEST_MEGABYTES): send fewer tasks in one request"


def _connection_limit() -> int:
    """How many connections can be open, with the process's limit on files raised as far as needed and allowed."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3 * MAX_CONNECTIONS  # a socket, and files for a large request and its answer
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft != resource.RLIM_INFINITY:
            return max(min(MAX_CONNECTIONS, soft // 3), 100)
    return MAX_CONNECTIONS
