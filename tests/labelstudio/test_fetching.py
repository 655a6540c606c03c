"""Fetching images, from real servers on this machine: what is refused, cut off, tried again; where tokens go."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import label_studio_sdk.client  # noqa: F401 (takes seconds, which would count against an image's time)
import pytest

from image_server import ImageServer
from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.client import LabelStudio, loggable
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.address_filter import AddressFilter, is_public, resolve
from maskbridge.labelstudio.images.fetching import Fetcher, Limits

QUICK = Limits(connect=1, read=1, total=2.5, size=2_000_000)
TOKEN = "legacy-token-0123456789abcdef"


def fetcher(
    allowed: Sequence[str] = ("127.0.0.1",),
    *,
    label_studio: str = "http://label-studio.invalid",
    token: str | None = None,
    resolver: Callable[[str, int], Sequence[str]] = resolve,
    limits: Limits = QUICK,
) -> Fetcher:
    return Fetcher(LabelStudio(label_studio, token), AddressFilter(allowed, resolver), limits)


def refusal(made: Fetcher, value: object) -> TaskImageError:
    with pytest.raises(TaskImageError) as error:
        made.fetch(value, 7)
    return error.value


def test_an_image_and_redirects(image_server: ImageServer) -> None:
    url = image_server.url
    assert fetcher().fetch(f"{url}/image/3") == image_server.image(3)
    assert fetcher().fetch(f"{url}/redirect?to=/image/4") == image_server.image(4)
    assert fetcher().fetch(f"{url}/recovers/x") == image_server.image(0)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/status/404", "not_found"),
        ("/status/403", "http"),
        ("/status/500", "http"),
        ("/status/206", "http"),
        ("/nowhere", "not_found"),
        ("/loop/x", "http"),
        ("/gzip/x", "http"),
        ("/huge/x", "too_large"),
        ("/endless/x", "too_large"),
        ("/drip/x", "timeout"),
        ("/drip-headers/x", "timeout"),
        ("/silent/x", "timeout"),
        ("/redirect?to=file:///etc/passwd", "address"),
        ("/redirect?to=ftp://127.0.0.1/", "address"),
        ("/redirect?to=//[", "address"),
    ],
)
def test_servers_that_misbehave(image_server: ImageServer, path: str, kind: str) -> None:
    error = refusal(fetcher(), image_server.url + path)
    assert error.kind == kind, error


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.jpg",
        "http://127.0.0.1:8080/a.jpg",
        "http://localhost/a.jpg",
        "http://0.0.0.0/a.jpg",
        "http://[::1]/a.jpg",
        "http://[::]/a.jpg",
        "http://[::ffff:127.0.0.1]/a.jpg",
        "http://[::ffff:169.254.169.254]/a.jpg",
        "http://[64:ff9b::7f00:1]/a.jpg",
        "http://[2002:7f00:1::]/a.jpg",
        "http://[fe80::1]/a.jpg",
        "http://[fc00::1]/a.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.100.100.200/latest/",
        "http://10.0.0.1/a.jpg",
        "http://172.16.0.1/a.jpg",
        "http://192.168.1.1/a.jpg",
        "http://224.0.0.1/a.jpg",
        "http://255.255.255.255/a.jpg",
        "http://2130706433/a.jpg",
        "http://0x7f.1/a.jpg",
        "http://0177.0.0.1/a.jpg",
        "http://127.1/a.jpg",
        "http://user:pass@127.0.0.1/a.jpg",
        "https://127.0.0.1/a.jpg",
    ],
)
def test_private_addresses_are_refused(url: str) -> None:
    error = refusal(fetcher(allowed=()), url)
    assert error.kind in ("address", "connection"), error
    assert "pass@" not in str(error)


def test_a_redirect_to_a_private_address_is_refused(image_server: ImageServer) -> None:
    """A listed host cannot lead to one that is not listed."""
    made = fetcher(allowed=["images.example"], resolver=lambda host, port: ["127.0.0.1"])
    port = image_server.url.rpartition(":")[2]
    before = len(image_server.seen)
    assert made.fetch(f"http://images.example:{port}/image/1") == image_server.image(1)
    for target in (image_server.url, f"http://localhost:{port}", "http://169.254.169.254"):
        error = refusal(made, f"http://images.example:{port}/redirect?to={target}/image/1")
        assert error.kind == "address"
    assert len(image_server.seen) == before + 4


def test_an_answer_of_dns_that_changes(image_server: ImageServer) -> None:
    """The address that was checked is the one that is connected to, whatever the next answer is."""
    answers = iter([["127.0.0.1"], ["93.184.215.14"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    port = image_server.url.rpartition(":")[2]
    error = refusal(fetcher(allowed=(), resolver=rebinding), f"http://rebinding.example:{port}/image/1")
    assert error.kind == "address"
    assert asked == ["rebinding.example"]
    mixed = fetcher(allowed=(), resolver=lambda host, port: ["93.184.215.14", "127.0.0.1"])
    assert refusal(mixed, f"http://mixed.example:{port}/image/1").kind == "address"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "task"),
        (5, "task"),
        ("", "task"),
        ({"url": "x"}, "task"),
        ("/etc/passwd", "address"),
        ("etc/passwd", "address"),
        ("file:///etc/passwd", "address"),
        ("FILE:/etc/passwd", "address"),
        ("/data/../etc/passwd", "address"),
        ("/data/%2e%2e/etc/passwd", "address"),
        ("/data/upload/..%2f..%2fetc/passwd", "address"),
        ("/data/local-files/?d=../../etc/passwd", "address"),
        ("/data/local-files/?d=..%2f..%2fetc/passwd", "address"),
        ("/data/upload/1/..\\..\\x.jpg", "address"),
        ("/api/users/", "address"),
        ("/user/logout", "address"),
        ("//127.0.0.1/a.jpg", "address"),
        ("http:///a.jpg", "address"),
        ("http://127.0.0.1:99999/", "address"),
        ("http://[bad/", "address"),
        ("javascript:alert(1)", "address"),
        ("unix:/var/run/docker.sock", "address"),
        ("s3://bucket/key.jpg", "connection"),
        ("data:image/png", "task"),
        ("data:image/png;base64,%%%", "image"),
        ("data:image/png;base64," + "A" * 3_000_000, "too_large"),
    ],
)
def test_values_that_are_refused(value: object, kind: str) -> None:
    assert refusal(fetcher(), value).kind == kind


def test_data_urls() -> None:
    assert fetcher().fetch("data:image/png;base64," + base64.b64encode(b"image").decode()) == b"image"
    assert fetcher().fetch("data:,a%20b") == b"a b"


def test_where_the_token_goes(image_server: ImageServer) -> None:
    """To Label Studio's own host, for its images; nowhere else, nor after a redirect to elsewhere and back."""
    own, port = image_server.url, image_server.url.rpartition(":")[2]
    made = fetcher(label_studio=own, token=TOKEN, allowed=["foreign.example"], resolver=lambda host, port: ["127.0.0.1"])

    def asked(value: str) -> list[tuple[str, str | None]]:
        before = len(image_server.seen)
        with pytest.raises(TaskImageError):
            made.fetch(value, 7)
        return [(path, headers.get("Authorization")) for path, headers in image_server.seen[before:]]

    with_token = f"Token {TOKEN}"
    assert asked("/data/upload/1/a.jpg") == [("/data/upload/1/a.jpg", with_token)]
    assert asked(f"{own}/data/upload/1/a.jpg") == [("/data/upload/1/a.jpg", with_token)]
    code = base64.urlsafe_b64encode(b"s3://bucket/a.jpg").decode().replace("=", "%3D")
    assert asked("s3://bucket/a.jpg") == [(f"/tasks/7/resolve/?fileuri={code}", with_token)]
    assert asked(f"http://foreign.example:{port}/data/upload/1/a.jpg") == [("/data/upload/1/a.jpg", None)]
    assert asked(f"{own}/api/users") == []
    # from elsewhere to Label Studio: an address like any other, here a private one
    back = f"http://foreign.example:{port}/redirect?to={own}/data/upload/1/a.jpg"
    assert asked(back) == [(back.split(port)[1] + port + "/data/upload/1/a.jpg", None)]


def test_label_studio_redirects_to_a_bucket(image_server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolve route answers with a redirect to signed storage: the image comes from there, without the token."""
    port = image_server.url.rpartition(":")[2]
    answer = image_server._answer

    def with_resolve(request: object) -> None:
        if request.path.startswith("/tasks/7/resolve/"):  # type: ignore[attr-defined]
            request.path = f"/redirect?to=http://bucket.example:{port}/image/2%3FSignature%3Dsecret"  # type: ignore[attr-defined]
        answer(request)  # type: ignore[arg-type]

    monkeypatch.setattr(image_server, "_answer", with_resolve)
    made = fetcher(
        label_studio=image_server.url, token=TOKEN, allowed=["bucket.example"], resolver=lambda host, port: ["127.0.0.1"]
    )
    assert made.fetch("s3://bucket/a.jpg", 7) == image_server.image(2)
    path, headers = image_server.seen[-1]
    assert path == "/image/2?Signature=secret"
    assert "Authorization" not in headers
    assert headers["Host"] == f"bucket.example:{port}"


def test_label_studio_under_a_path() -> None:
    there = LabelStudio("https://example.org/labels/")
    assert there.own_image("/data/upload/1/a b.jpg") == "https://example.org/labels/data/upload/1/a b.jpg"
    assert there.own_image("/labels/data/upload/1/a.jpg") == "https://example.org/labels/data/upload/1/a.jpg"


@pytest.mark.parametrize("url", ["ftp://host", "host:8080", "http://", "http://user:secret@host", "http://host/?a=1"])
def test_label_studios_address_is_checked(url: str) -> None:
    with pytest.raises(SettingsError):
        LabelStudio(url)


def test_a_login_page_is_named(image_server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = image_server._answer

    def login(request: object) -> None:
        request.path = "/redirect?to=/user/login/?next=/data/upload/1/a.jpg"  # type: ignore[attr-defined]
        answer(request)  # type: ignore[arg-type]

    monkeypatch.setattr(image_server, "_answer", login)
    error = refusal(fetcher(label_studio=image_server.url), "/data/upload/1/a.jpg")
    assert error.kind == "login"
    assert "MASKBRIDGE_LABEL_STUDIO_TOKEN" in str(error)


def test_a_token_that_cannot_be_refreshed_is_not_in_the_message(image_server: ImageServer) -> None:
    import jwt

    token = jwt.encode({"exp": time.time() + 1000, "token_type": "refresh"}, "k" * 32)
    error = refusal(fetcher(label_studio=image_server.url, token=token), "/data/upload/1/a.jpg")
    assert error.kind == "login"
    assert token not in str(error)
    expired = jwt.encode({"exp": time.time() - 1000}, "k" * 32)
    assert refusal(fetcher(label_studio=image_server.url, token=expired), "/data/upload/1/a.jpg").kind == "login"


def test_allowed_hosts() -> None:
    allowed = AddressFilter(
        ["Minio.internal", "10.1.0.0/16", "192.168.7.7", "fd00::/8"],
        resolver=lambda host, port: {"minio.internal": ["10.9.9.9"]}.get(host.lower(), [host]),
    )
    assert allowed.addresses("minio.internal", 80) == ["10.9.9.9"]
    for address in ("10.1.2.3", "192.168.7.7", "fd00::5", "93.184.215.14"):
        assert allowed.addresses(address, 80) == [address]
    for address in ("10.2.0.1", "192.168.7.8", "127.0.0.1", "fc00::1"):
        with pytest.raises(TaskImageError):
            allowed.addresses(address, 80)
    with pytest.raises(SettingsError, match="neither a name"):
        AddressFilter(["10.1.0.0/99"])


def test_what_is_public() -> None:
    import ipaddress

    public = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
    private = ["198.18.0.1", "203.0.113.9", "240.0.0.1", "ff02::1", "::7f00:1", "2001:db8::1", "::ffff:10.0.0.1"]
    assert all(is_public(ipaddress.ip_address(text)) for text in public)
    assert not any(is_public(ipaddress.ip_address(text)) for text in private)


def test_addresses_in_logs_carry_no_secret() -> None:
    assert loggable("https://me:secret@host/a.jpg?X-Amz-Signature=secret#secret") == "https://host/a.jpg"
    assert loggable("data:image/png;base64,AAAA") == "a data URL"
    assert "\n" not in loggable("http://host/a\nb")
    assert len(loggable("http://host/" + "a" * 5000)) <= 200


def test_no_local_file_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(b"image")
    for value in (str(file), f"file://{file}", f"file://localhost{file}", str(file)[1:]):
        assert refusal(fetcher(), value).kind == "address"
