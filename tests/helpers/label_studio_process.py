"""Starts a real Label Studio for tests and benchmarks, and talks to it as its pages do."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from waiting import wait_for

VERSION = "1.23.2"
ENVIRONMENT = Path(__file__).resolve().parents[2] / f".venv-label-studio-{VERSION}"
EMAIL, PASSWORD = "admin@example.com", "maskbridge-tests-1"


@dataclass
class LabelStudioProcess:
    """A running Label Studio and a personal access token for it."""

    url: str
    log: Path
    token: str = ""
    _access: tuple[float, str] = field(default=(0.0, ""), repr=False)

    @property
    def python(self) -> Path:
        """The Python of its environment, which has the label-studio-sdk that belongs to it."""
        return ENVIRONMENT / "bin" / "python"

    def client(self) -> httpx.Client:
        """Requests as the token's owner; access tokens last five minutes."""
        made, access = self._access
        if time.monotonic() - made > 120:
            access = httpx.post(f"{self.url}/api/token/refresh/", json={"refresh": self.token}).json()["access"]
            self._access = (time.monotonic(), access)
        return httpx.Client(base_url=self.url, timeout=600, headers={"Authorization": f"Bearer {access}"})

    def project(self, label_config: str, images: Sequence[tuple[str, bytes]] = (), **others: Any) -> int:
        """A new project with uploaded images."""
        with self.client() as client:
            made = client.post("/api/projects/", json={"title": "maskbridge", "label_config": label_config, **others})
            assert made.status_code == 201, made.text
            number = int(made.json()["id"])
            if images:
                files = [(f"file{index}", (name, data, "image/jpeg")) for index, (name, data) in enumerate(images)]
                done = client.post(f"/api/projects/{number}/import", files=files)
                assert done.json()["task_count"] == len(images), done.text
            return number

    def import_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> None:
        """New tasks from JSON."""
        with self.client() as client:
            done = client.post(f"/api/projects/{project}/import", json=list(tasks))
            assert done.status_code == 201, done.text

    def connect(self, project: int, url: str, **others: Any) -> httpx.Response:
        """Adds a machine-learning backend to a project, as its settings page does."""
        with self.client() as client:
            body = {"project": project, "url": url, "title": "maskbridge", "is_interactive": True, **others}
            return client.post("/api/ml", json=body)

    def annotate(self, task: int, result: Sequence[dict[str, Any]], **others: Any) -> int:
        """A submitted annotation of a task, as its editor sends it."""
        with self.client() as client:
            done = client.post(f"/api/tasks/{task}/annotations/", json={"result": list(result), "lead_time": 1.0, **others})
            assert done.status_code == 201, done.text
            return int(done.json()["id"])

    def retrieve_predictions(self, project: int) -> dict[str, Any]:
        """What "Retrieve predictions" in the data manager does, for all tasks."""
        with self.client() as client:
            done = client.post(
                "/api/dm/actions",
                params={"id": "retrieve_tasks_predictions", "project": project},
                json={"selectedItems": {"all": True, "excluded": []}},
            )
            assert done.status_code == 200, done.text
            return dict(done.json())

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """All tasks, with their predictions and annotations."""
        with self.client() as client:
            listed = client.get("/api/tasks", params={"project": project, "page_size": 1000}).json()["tasks"]
            return [client.get(f"/api/tasks/{task['id']}").json() for task in sorted(listed, key=lambda task: task["id"])]


def find_uv() -> str:
    """The program that installs Label Studio; without it a test is skipped, unless CI runs it."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        assert not os.environ.get("CI"), "CI has uv"
        pytest.skip("no uv on this machine to install Label Studio with")
    return uv


def install(uv: str) -> None:
    """Label Studio into an environment beside the checkout, unless it is there; by one process at a time."""
    with FileLock(ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.lock")):
        if not (ENVIRONMENT / "bin" / "label-studio").exists():
            _install(uv)


def _install(uv: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    for command in (
        ["venv", "--no-config", "--allow-existing", str(ENVIRONMENT)],
        ["pip", "install", "--no-config", "--python", str(ENVIRONMENT / "bin" / "python"), "--exclude-newer",
         "2026-11-20T00:00:00Z", f"label-studio=={VERSION}"],
    ):  # fmt: skip
        subprocess.run([uv, *command], check=True, cwd=ENVIRONMENT.parent, env=clean)


@contextlib.contextmanager
def start_label_studio(uv: str, folder: Path, port: int, host: str | None = None) -> Iterator[LabelStudioProcess]:
    """A Label Studio with an empty database in a folder, allowed to call backends on this machine.

    Args:
        uv: installs it.
        folder: of its database, its log, and the local files that it serves.
        port: where it listens.
        host: its public address, which may have a path; by default where it listens.
    """
    install(uv)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_HOST": host or url,
        "SSRF_PROTECTION_ENABLED": "false",
        "ML_BLOCK_LOCAL_IP": "false",
        "COLLECT_ANALYTICS": "false",
        "LOCAL_FILES_SERVING_ENABLED": "true",
        # Its seconds for a backend to answer are for quiet machines.
        "ML_CONNECTION_TIMEOUT": "600",
        "ML_TIMEOUT_HEALTH": "600",
        "ML_TIMEOUT_SETUP": "600",
        "ML_TIMEOUT_PREDICT": "600",
        "ML_TIMEOUT_TRAIN": "600",
        "WEBHOOK_TIMEOUT": "600",
        "LOCAL_FILES_DOCUMENT_ROOT": str(folder),
    }
    command = [ENVIRONMENT / "bin" / "label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--username", EMAIL, "--password", PASSWORD]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: _answers(url), process, log)
        yield LabelStudioProcess(url, log, new_token(url))
    finally:
        process.kill()  # nobody misses what it would still write
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", timeout=60).status_code == 200
    return False


def new_token(url: str) -> str:
    """A personal access token: shown in full only when it is made, to somebody who has logged in."""
    with httpx.Client(base_url=url, follow_redirects=True, timeout=600) as client:
        match = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/user/login/").text)
        assert match is not None
        form = {"csrfmiddlewaretoken": match.group(1), "email": EMAIL, "password": PASSWORD}
        client.post("/user/login/", data=form, headers={"Referer": f"{url}/user/login/"})
        headers = {"X-CSRFToken": client.cookies["csrftoken"], "Referer": url}
        return str(client.post("/api/token/", headers=headers).json()["token"])
