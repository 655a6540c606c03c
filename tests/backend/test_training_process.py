"""The process of a training run: it ends with its server, the server does not end with it; what is left of its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import browser
from annotated_projects import PAIRS, annotated_project
from backend_process import Backend
from backend_requests import predict, task
from label_studio_process import LabelStudioProcess
from maskbridge.adapter import MaskRCNN
from maskbridge.labelstudio.tags import BrushLabels
from shapes import SMALL
from waiting import wait_for


@pytest.fixture(scope="module")
def project(label_studio: LabelStudioProcess) -> int:
    return annotated_project(label_studio, BrushLabels, PAIRS[:4])


@pytest.fixture
def backend(serve: Callable[..., Backend], label_studio: LabelStudioProcess, tmp_path: Path) -> Backend:
    """A backend whose training runs do not end by themselves."""
    start = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL)).save(tmp_path / "small.safetensors")
    at = {"label_studio_url": label_studio.url, "label_studio_token": label_studio.token}
    started = serve(weights=start, home=tmp_path / "home", training_epochs=10_000, **at)
    started.wait_until_ready()
    return started


def train(backend: Backend, project: int) -> psutil.Process:
    """Starts a training run; its process, once it takes steps."""
    body = {"action": "START_TRAINING", "project": {"id": project}}
    assert httpx.post(f"{backend.url}/webhook", json=body).status_code == 201

    def steps() -> bool:
        page = httpx.get(backend.url).text
        return "polyline points" in page and "Last training run" not in page

    wait_for(steps, backend.process, backend.log)
    (run,) = psutil.Process(backend.process.pid).children()
    return run


def has_ended(run: psutil.Process) -> bool:
    return not run.is_running() or run.status() == psutil.STATUS_ZOMBIE


def folders(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "training_runs").glob("label-studio-*"))


def test_its_death_leaves_the_server_as_it_was(backend: Backend, project: int, tmp_path: Path) -> None:
    run = train(backend, project)
    out, images = folders(tmp_path / "home")
    assert images == f"{out}-images"
    before = httpx.get(f"{backend.url}/versions").json()
    predict(backend.url, [task(7, "http://<script>alert(1)</script>/a.jpg?token=secret"), task(8, "/etc/passwd")])
    with browser.new_page(1000, 1100) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: requested.append(message.text))
        page.goto(backend.url)
        page.get_by_text(f"Project {project}, started").wait_for()
        page.locator("svg polyline").wait_for(state="attached")
        assert "etc/passwd" in page.inner_text("body")
        assert "secret" not in page.content()
        assert page.locator("script").count() == 0
        assert page.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse", "its style"
        assert set(requested) == {f"{backend.url}/"}
    run.kill()
    wait_for(lambda: "its process ended with code -9" in backend.log.read_text(), backend.process, backend.log)
    wait_for(lambda: folders(tmp_path / "home") == [])
    wait_for(lambda: "maskbridge_training_run 0.0" in httpx.get(f"{backend.url}/metrics").text)
    assert httpx.get(f"{backend.url}/versions").json() == before
    assert "stays in use" in httpx.get(backend.url).text
    (failure,) = httpx.get(f"{backend.url}/failures", params={"project": "1"}).json()["failures"][:1]
    assert (failure["project"], failure["task"], failure["kind"]) == (1, 8, "address")

    again = train(backend, project)
    backend.process.terminate()
    assert backend.process.wait() == 0
    wait_for(lambda: has_ended(again))
    assert "Traceback" not in backend.log.read_text()


def test_it_ends_with_a_server_that_is_killed(
    backend: Backend, project: int, serve: Callable[..., Backend], tmp_path: Path
) -> None:
    """Also in the middle of a step; the next server deletes its files."""
    run = train(backend, project)
    backend.process.kill()
    backend.process.wait()
    wait_for(lambda: has_ended(run))
    assert "Traceback" not in backend.log.read_text()
    assert len(folders(tmp_path / "home")) == 2
    following = serve(home=tmp_path / "home")
    following.wait_until_ready()
    wait_for(lambda: folders(tmp_path / "home") == [], following.process, following.log)


def test_events_of_many_annotations_count_each(serve: Callable[..., Backend], image_server: Any) -> None:
    backend = serve(train_every=500, label_studio_token="none", label_studio_url=image_server.url)
    backend.wait_until_ready()

    def send(action: str, annotation: object) -> str:
        body = {"action": action, "project": {"id": 5}, "annotation": annotation}
        return str(httpx.post(f"{backend.url}/webhook", json=body).json()["status"])

    assert send("ANNOTATION_CREATED", {"id": 1}) == "counted"
    assert send("ANNOTATION_UPDATED", {"id": 1}) == "counted"
    assert send("ANNOTATIONS_DELETED", [{"id": n} for n in range(900)]) == "ignored"
    assert send("ANNOTATIONS_CREATED", [{"id": n} for n in range(497)]) == "counted"
    assert "training on project 5 started" not in backend.log.read_text()
    assert send("ANNOTATIONS_CREATED", [{"id": 498}]) == "counted"
    assert "training on project 5 started" in backend.log.read_text()
