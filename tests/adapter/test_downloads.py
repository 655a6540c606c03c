"""Weights from URLs: checked, atomic, cleaned up."""

from __future__ import annotations

import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskbridge.adapter import MaskRCNN, WeightsError
from maskbridge.adapter.weights import catalog
from maskbridge.adapter.weights.download import download, sha256

SMALL = "maskrcnn_mobilenet_v2_fpn"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real https server on this machine, and the folder it serves."""
    folder = tmp_path_factory.mktemp("served")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "http://localhost:1/x")
                self.end_headers()
            elif self.path == "/short":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"too little")
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            yield f"https://localhost:{serving.server_address[1]}", folder
        serving.shutdown()


def test_weights_from_a_url_are_checked_and_kept(server: tuple[str, Path], bundled: MaskRCNN) -> None:
    address, folder = server
    path = bundled.save(folder / "mine.safetensors")
    url = f"{address}/mine.safetensors#sha256={sha256(path)}"
    assert MaskRCNN(url, progress=False).fingerprint == bundled.fingerprint
    path.unlink()
    assert MaskRCNN(url, progress=False).fingerprint == bundled.fingerprint, "the second time it is on this machine"
    assert [file.suffix for file in catalog.weights_folder().iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    ("page", "says"), [("moved", "not https"), ("short", "10 of 1,000"), ("none", "404"), ("wrong", "the sha256 is")]
)
def test_bad_downloads_leave_nothing(page: str, says: str, server: tuple[str, Path], tmp_path: Path) -> None:
    (server[1] / "wrong").write_text("another file")
    with pytest.raises(WeightsError, match=says):
        download(f"{server[0]}/{page}", tmp_path / "new" / "a.pth", sha256_prefix="00", progress=False)
    assert list((tmp_path / "new").iterdir()) == []
