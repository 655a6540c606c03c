"""A web server for tests: real images, and everything that an image's address can turn out to be."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import threading
import zlib
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image


class ImageServer:
    """Serves ``/image/N`` (real images, by turns, each address another one to a cache) and misbehaves elsewhere.

    Attributes:
        url: such as ``http://127.0.0.1:12345``.
        seen: (path, headers) of every request.
    """

    def __init__(self, images: Sequence[Path]) -> None:
        self.images = [path.read_bytes() for path in images]
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.failures = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._gates: dict[str, threading.Event] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.seen.append((self.path, dict(self.headers.items())))
                try:
                    outer._answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that hang up are what this server is for

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ImageServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for name in list(self._gates):
            self.release(name)
        self._server.shutdown()
        self._server.server_close()

    def image(self, number: int) -> bytes:
        return self.images[number % len(self.images)]

    def requests(self, part: str) -> int:
        """How many requests had this in their address so far."""
        return sum(part in path for path, _ in list(self.seen))

    def release(self, name: str) -> None:
        """Answers what waits, or will ask, for ``/held/NAME``."""
        self._gate(name).set()

    def _gate(self, name: str) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(name, threading.Event())

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        kind, _, rest = parts.path.strip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if kind == "image":
            _send(request, 200, self.image(int(rest.split(".")[0])))
        elif kind == "redirect":
            _send(request, 302, b"", {"Location": query["to"]})
        elif kind == "loop":
            _send(request, 302, b"", {"Location": request.path})
        elif kind == "status":
            _send(request, int(rest), b"no")
        elif kind == "recovers":  # two failures, then the image
            _send(request, 503 if next(self.failures) < 2 else 200, self.image(0))
        elif kind == "corrupt":
            _send(request, 200, self.image(0)[: len(self.image(0)) // 2])
        elif kind == "text":
            _send(request, 200, b"<html>not an image</html>")
        elif kind == "bomb":
            _send(request, 200, picture_bomb())
        elif kind == "gzip":
            _send(request, 200, gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"})
        elif kind == "huge":  # says ten gigabytes
            _send(request, 200, self.image(0), {"Content-Length": "10000000000"})
        elif kind == "endless":  # says nothing and does not end
            _head(request, 200, {"Connection": "close"})
            while not self._stop.is_set():
                request.wfile.write(bytes(1 << 16))
        elif kind == "drip":
            _head(request, 200, {"Content-Length": "100000"})
            self._drip(request, b"x" * 1000)
        elif kind == "drip-headers":
            self._drip(request, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000)
        elif kind == "silent":
            self._stop.wait(60)
        elif kind == "held":
            self._send_held(request, self._gate(rest))
        else:
            _send(request, 404, b"not here")

    def _send_held(self, request: BaseHTTPRequestHandler, gate: threading.Event) -> None:
        """An image whose bytes come slowly, so that nobody gives up, until it is released."""
        data, sent = self.image(0), 0
        _head(request, 200, {"Content-Length": str(len(data))})
        while not gate.wait(0.5):
            request.wfile.write(data[sent : sent + 1])
            request.wfile.flush()
            sent += 1
        request.wfile.write(data[sent:])

    def _drip(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        for byte in data:
            if self._stop.wait(0.3):
                return
            request.wfile.write(bytes([byte]))
            request.wfile.flush()


def picture_bomb() -> bytes:
    """A PNG of some kilobytes that says it has 50,000 x 50,000 pixels."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def jpeg(pixels: np.ndarray, orientation: int | None = None) -> bytes:
    """A JPEG, with an EXIF orientation where one is given."""
    file, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    _head(request, status, {"Content-Length": str(len(body)), **(headers or {})})
    request.wfile.write(body)
