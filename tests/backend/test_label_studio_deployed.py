"""A real Label Studio as people deploy it: its public address is https under a path, with an authority of its own, and the
backend reaches it at another one. Its tasks come from a local storage, so they hold the public address."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend_process import Backend, free_port
from backend_requests import predict
from https_proxy import https_proxy, make_authority
from label_studio_process import LabelStudioProcess, find_uv, start_label_studio
from maskbridge.adapter.errors import SettingsError
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.fetching import make_fetcher
from maskbridge.labelstudio.project import fetch_images
from maskbridge.labelstudio.settings import label_studio_settings

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="person"/></BrushLabels></View>'
)


@dataclass
class Deployed:
    """A Label Studio behind a proxy, and a project with tasks of a local storage and of uploads."""

    process: LabelStudioProcess
    public_url: str
    authority: Path
    project: int

    def tasks(self) -> list[dict[str, Any]]:
        return [{"id": task["id"], "data": task["data"]} for task in self.process.tasks(self.project)]

    def fetch(self, url: str, **others: str) -> list[bytes | str]:
        """The images of the tasks, or why there are none, with Label Studio's address as a setting."""
        settings = label_studio_settings(label_studio_url=url, label_studio_token=self.process.token, **others)
        fetcher = make_fetcher(settings, settings.label_studio())
        fetched: list[bytes | str] = []
        for task in self.tasks():
            try:
                fetched.append(fetcher.fetch(task["data"]["image"], task["id"]))
            except TaskImageError as error:
                fetched.append(str(error))
        return fetched


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, images: list[Path]) -> Iterator[Deployed]:
    folder, certificates = tmp_path_factory.mktemp("label-studio"), tmp_path_factory.mktemp("certificates")
    authority, certificate = make_authority(certificates)
    port, uv = free_port(), find_uv()
    with (
        https_proxy(free_port(), f"http://127.0.0.1:{port}", certificate, "/ls") as public_url,
        start_label_studio(uv, folder, port, public_url) as process,
    ):
        (folder / "storage").mkdir()
        for path in images[:3]:
            shutil.copy(path, folder / "storage")
        project = process.project(CONFIG, [(path.name, path.read_bytes()) for path in images[3:5]])
        with process.client() as client:
            body = {"project": project, "path": str(folder / "storage"), "use_blob_urls": True, "title": "images"}
            storage = client.post("/api/storages/localfiles", json=body)
            assert storage.status_code == 201, storage.text
            assert client.post(f"/api/storages/localfiles/{storage.json()['id']}/sync").status_code == 200
        yield Deployed(process, public_url, authority, project)


@pytest.fixture(scope="module")
def backend(serve: Callable[..., Backend], deployed: Deployed) -> Backend:
    """A backend that reaches Label Studio at its inner address, and may fetch from nowhere else on this machine."""
    started = serve(
        label_studio_url=deployed.process.url,
        label_studio_token=deployed.process.token,
        allowed_hosts="",
        log_level="debug",
    )
    started.wait_until_ready()
    return started


def test_tasks_hold_the_public_address(deployed: Deployed) -> None:
    values = [task["data"]["image"] for task in deployed.tasks()]
    assert sum(value.startswith(f"{deployed.public_url}/data/local-files/?d=") for value in values) == 3
    assert sum(value.startswith("/ls/data/upload/") for value in values) == 2


def test_without_setup_the_setting_is_named(deployed: Deployed, backend: Backend) -> None:
    tasks = deployed.tasks()
    assert predict(backend.url, tasks, CONFIG, project=f"{deployed.project}.1") == [[]] * 5
    log, origin = backend.log.read_text(), deployed.public_url.removesuffix("/ls")
    assert log.count(f"set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL={origin}") == 3
    assert log.count("set MASKBRIDGE_LABEL_STUDIO_PUBLIC_URL to its address with that path") == 2


def test_a_foreign_hostname_in_setup_gains_nothing(deployed: Deployed, backend: Backend) -> None:
    for number, hostname in enumerate(
        ("http://169.254.169.254", "http://127.0.0.1:1", "file:///etc", "http://x:y@10.0.0.1")
    ):
        body = {"project": "77.1", "schema": CONFIG, "hostname": hostname}
        assert httpx.post(f"{backend.url}/setup", json=body).status_code == 200
        paths = ("/latest/meta-data/", "/data/../api/users", "/api/users", "/data/upload/1/no-such.jpg")
        tasks = [{"id": 10 * number + index, "data": {"image": hostname + path}} for index, path in enumerate(paths)]
        assert predict(backend.url, tasks, CONFIG, project="77.1") == [[]] * 4
    failures = httpx.get(f"{backend.url}/failures", params={"project": 77}).json()["failures"]
    assert len(failures) == 16
    kinds = {failure["task"]: failure["kind"] for failure in failures}
    assert {kinds[task] for task in range(40) if task % 10 < 3 and task in kinds} == {"address"}
    assert (kinds[3], kinds[13]) == ("http", "http"), "the configured Label Studio was asked: 500 where there is no file"
    assert (kinds[23], kinds[33]) == ("address", "address")
    assert deployed.process.token not in backend.log.read_text()


def test_the_address_that_setup_names_is_fetched_at_the_inner_one(deployed: Deployed, backend: Backend) -> None:
    assert deployed.process.connect(deployed.project, backend.url).status_code == 201
    deployed.process.retrieve_predictions(deployed.project)
    predictions = [task["predictions"] for task in deployed.process.tasks(deployed.project)]
    assert [len(of_task) for of_task in predictions] == [1] * 5, backend.log.read_text()
    assert f"Label Studio's own address is {deployed.public_url}" in backend.log.read_text()
    assert deployed.process.token not in backend.log.read_text()


def test_settings_for_what_setup_does_not_say(
    deployed: Deployed, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sorted(path.read_bytes() for path in images[:5])

    def sorted_images(**settings: str) -> list[bytes | str]:
        return sorted(deployed.fetch(**settings), key=lambda one: one if isinstance(one, bytes) else b"")

    assert sorted_images(url=deployed.process.url, label_studio_public_url=deployed.public_url) == expected
    for reason in deployed.fetch(url=deployed.public_url):
        assert "its certificate is not trusted: set SSL_CERT_FILE" in str(reason)
    monkeypatch.setenv("SSL_CERT_FILE", str(deployed.authority))
    assert sorted_images(url=deployed.public_url) == expected
    settings = label_studio_settings(label_studio_url=deployed.public_url, label_studio_token=deployed.process.token)
    monkeypatch.setenv("MASKBRIDGE_HOME", str(deployed.authority.parent))
    assert len(fetch_images(deployed.project, settings).files) == 5, "the SDK under a path"
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file.pem")
    with pytest.raises(SettingsError, match="does not exist"):
        deployed.fetch(url=deployed.public_url)
