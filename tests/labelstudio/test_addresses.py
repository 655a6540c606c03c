"""Label Studio's addresses: public ones in tasks, paths, redirects to https, and which setting a message names."""

from __future__ import annotations

import label_studio_sdk.client  # noqa: F401 (takes seconds, which would count against an image's time)
import pytest

from image_server import ImageServer
from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.client import LabelStudio, loggable
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.address_filter import AddressFilter
from maskbridge.labelstudio.images.fetching import Fetcher, Limits

INNER = "http://inner:8080"
OWN = f"{INNER}/data/upload/1/a.jpg"


@pytest.mark.parametrize(
    ("value", "public_url", "expected"),
    [
        ("/data/upload/1/a.jpg", None, OWN),
        ("//data/upload/1//a.jpg", None, OWN),
        ("/labels/data/upload/1/a.jpg", "https://example.org/labels", OWN),
        ("/labels//data/upload/1/a.jpg", "https://example.org/labels/", OWN),
        ("https://example.org/labels/data/upload/1/a.jpg", "https://example.org/labels", OWN),
        ("https://example.org//labels/data/upload/1/a.jpg", "http://example.org/labels", OWN),
        ("https://example.org:443/data/upload/1/a.jpg", "https://example.org", OWN),
        ("https://Example.org/data/upload/1/a.jpg", "https://example.org", OWN),
        ("https://example.org/data/upload/1/a.jpg", None, None),
        ("https://example.org:8443/data/upload/1/a.jpg", "https://example.org", None),
        ("https://example.org.evil.example/data/upload/1/a.jpg", "https://example.org", None),
        ("https://example.org@evil.example/data/upload/1/a.jpg", "https://example.org", None),
        ("https://example.org/api/users", "https://example.org", None),
        ("https://example.org/data/../api/users", "https://example.org", None),
        ("https://example.org/labels/../data/upload/1/a.jpg", "https://example.org", None),
        ("/data/local-files/?d=folder%5Ca.jpg", None, f"{INNER}/data/local-files/?d=folder%5Ca.jpg"),
        ("/data/local-files/?d=folder\\a.jpg", None, f"{INNER}/data/local-files/?d=folder%5Ca.jpg"),
        ("/tasks/7/resolve/?fileuri=czM6Ly9i", None, f"{INNER}/tasks/7/resolve/?fileuri=czM6Ly9i"),
    ],
)
def test_where_an_image_is_requested(value: str, public_url: str | None, expected: str | None) -> None:
    url = LabelStudio(INNER).own_image(value, public_url)
    assert (None if url is None else str(url)) == expected
    also = LabelStudio(INNER, public_urls=(public_url,) if public_url else ()).own_image(value)
    assert also == url


@pytest.mark.parametrize(
    "value", ["/data/local-files/?d=..\\a.jpg", "/data/local-files/?d=a%5C..%5Cb", "/data\\a", "/data/%5C.."]
)
def test_parent_folders_are_refused_also_with_backslashes(value: str) -> None:
    with pytest.raises(TaskImageError, match="is not a path at which"):
        LabelStudio(INNER).own_image(f"/data/{value}")


@pytest.mark.parametrize("url", ["ftp://host", "host", "http://user:secret@host", "http://host/?a=1"])
def test_public_addresses_are_checked(url: str) -> None:
    with pytest.raises(SettingsError, match="a public address of Label Studio is"):
        LabelStudio(INNER, public_urls=(url,))
    assert LabelStudio(INNER).own_image("https://host/data/upload/1/a.jpg", url) is None, "what /setup says is ignored then"


def test_the_token_goes_to_the_configured_address_only(image_server: ImageServer) -> None:
    """Also where ``/setup`` names a foreign host, or a host that is really another server."""
    foreign = "http://localhost:" + image_server.url.rpartition(":")[2]
    label_studio = LabelStudio("http://127.0.0.1:1", "legacy-token-0123456789abcdef", (foreign,))
    fetcher = Fetcher(label_studio, AddressFilter(["127.0.0.0/8", "::1"]), Limits(total=2, tries=1))
    before = len(image_server.seen)
    with pytest.raises(TaskImageError) as error:
        fetcher.fetch(f"{foreign}/data/upload/1/a.jpg", public_url=foreign)
    assert error.value.kind == "connection", "nobody listens at the configured address"
    assert image_server.seen[before:] == []
    assert fetcher.fetch(f"{foreign}/image/1", public_url=foreign) == image_server.image(1), "an image like any other"
    assert "Authorization" not in image_server.seen[-1][1]


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_host_that_looks_like_label_studio_names_the_setting(
    status: int, image_server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = image_server._answer

    def like_label_studio(request: object) -> None:
        request.path = f"/status/{status}" if status != 302 else "/redirect?to=/user/login/"  # type: ignore[attr-defined]
        answer(request)  # type: ignore[arg-type]

    monkeypatch.setattr(image_server, "_answer", like_label_studio)
    fetcher = Fetcher(LabelStudio(INNER), AddressFilter(["127.0.0.0/8"]), Limits(total=3))
    with pytest.raises(TaskImageError) as error:
        fetcher.fetch(f"{image_server.url}/ls/data/upload/1/a.jpg")
    assert f"set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL={image_server.url}" in str(error.value)
    with pytest.raises(TaskImageError) as error:
        fetcher.fetch(f"{image_server.url}/images/a.jpg")
    assert "MASKBRIDGE" not in str(error.value)
    with pytest.raises(TaskImageError) as error:
        Fetcher(LabelStudio(INNER), AddressFilter(), Limits()).fetch("http://10.0.0.1/data/local-files/?d=a.jpg")
    assert "set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL=http://10.0.0.1" in str(error.value)


def test_a_redirect_to_https_says_so(image_server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    port = image_server.url.rpartition(":")[2]
    answer = image_server._answer

    def to_https(request: object) -> None:
        request.path = f"/redirect?to=https://127.0.0.1:{port}{request.path}"  # type: ignore[attr-defined]
        answer(request)  # type: ignore[arg-type]

    monkeypatch.setattr(image_server, "_answer", to_https)
    fetcher = Fetcher(LabelStudio(image_server.url), AddressFilter(), Limits(total=3))
    with pytest.raises(TaskImageError) as error:
        fetcher.fetch("/data/upload/1/a.jpg")
    assert f"redirects to https://127.0.0.1:{port}/data/upload/1/a.jpg: set MASKBRIDGE_LABEL_STUDIO_URL" in str(error.value)
    assert "with https://" in str(error.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("images/a.jpg", "images/a.jpg"),
        ("/data/upload/1/a.jpg?x=1", "/data/upload/1/a.jpg"),
        ("s3://bucket/a b.jpg", "s3://bucket/a b.jpg"),
        ("/9j/4AAQSkZJRgABAQAASABIAAD" * 50, "a text of 1,350 characters"),
        ("iVBORw0KGgoAAAANSUhEUgAAAAUA", "a text of 28 characters"),
        ("Patient: John Smith", "a text of 19 characters"),
        ("DATA:image/png;base64,AAAA", "a data URL"),
    ],
)
def test_what_is_logged_of_a_value(value: str, shown: str) -> None:
    assert loggable(value) == shown
