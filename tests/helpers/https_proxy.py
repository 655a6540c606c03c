"""A reverse proxy as people put it before Label Studio: https with an authority of their own, perhaps under a path."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


def make_authority(folder: Path) -> tuple[Path, Path]:
    """An authority of its own (a file to trust), and a certificate with its key for 127.0.0.1 (one file)."""
    authority, server = folder / "authority.pem", folder / "server.pem"
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", *key, "-keyout", "authority.key", "-out", authority, "-subj", "/CN=tests")
    openssl("req", *key[:3], "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", authority, "-CAkey", "authority.key", "-CAcreateserial",
        "-days", "2", "-extfile", "names", "-out", "server.crt",
    )  # fmt: skip
    server.write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return authority, server


@contextlib.contextmanager
def https_proxy(port: int, target: str, certificate: Path, prefix: str = "") -> Iterator[str]:
    """A proxy on a port of this machine: ``PREFIX/…`` is requested as ``/…`` at the target. Yields its address."""
    upstream = urlsplit(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            headers |= {"Host": self.headers["Host"], "X-Forwarded-Proto": "https", "Content-Length": str(len(body))}
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=600)
            status, sent, answer = 404, [], b"not under the path"
            if self.path.startswith(f"{prefix}/"):
                connection.request(self.command, self.path[len(prefix) :], body, headers)
                response = connection.getresponse()
                status, sent, answer = response.status, response.getheaders(), response.read()
            connection.close()
            self.send_response(status)
            for name, value in sent:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):  # other methods are forwarded alike
                return self.do_GET
            raise AttributeError(name)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that refuse the certificate

        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            connection, address = super().get_request()
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()
