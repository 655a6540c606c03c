"""Training from a real Label Studio: labels round through its projects, its train button, the swap, older versions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import browser
from annotated_projects import CONFIG, LABELS, PAIRS, annotated_project, png
from backend_process import PROGRAM, Backend
from label_studio_page import logged_in, screenshot
from label_studio_process import LabelStudioProcess
from maskbridge.adapter import MaskRCNN
from maskbridge.backend.settings import ServerSettings
from maskbridge.labelstudio.project import read_project
from maskbridge.labelstudio.tags import TAGS, LabelTag, PolygonLabels
from shapes import CLASSES, SMALL, iou
from waiting import wait_for


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def settings(label_studio: LabelStudioProcess, home: Path, monkeypatch: pytest.MonkeyPatch) -> ServerSettings:
    monkeypatch.setenv("MASKBRIDGE_HOME", str(home))
    return ServerSettings(
        label_studio_url=label_studio.url, label_studio_token=label_studio.token, allowed_hosts="127.0.0.0/8"
    )


@pytest.mark.parametrize("kind", TAGS, ids=lambda kind: kind.kind)
def test_labels_go_round(kind: type[LabelTag], label_studio: LabelStudioProcess, settings: ServerSettings) -> None:
    pairs = PAIRS[:3]
    project = annotated_project(label_studio, kind, pairs)
    read = read_project(project, settings)
    assert (len(read), read.class_names, read.skipped) == (3, (*CLASSES, "person"), ())
    by_ids = {image.instances.ids: image for image in read}
    for index, (picture, expected) in enumerate(pairs):
        image = by_ids[(f"a{index}", f"b{index}")]
        instances = image.instances
        assert instances.names == expected.names
        np.testing.assert_array_equal(np.asarray(Image.open(str(image.image))), picture)
        if kind.needs_masks:
            least = 0.95 if issubclass(kind, PolygonLabels) else 1.0
            assert min(iou(*frames) for frames in zip(instances.frames(), expected.frames())) >= least
        else:
            assert instances.masks == (None, None)
            np.testing.assert_allclose(instances.boxes, expected.boxes, atol=1e-3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights for small images: steps of a tenth of a second."""
    start = MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL))
    return start.save(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def start(
    serve: Callable[..., Backend], label_studio: LabelStudioProcess, small: Path, home: Path
) -> Callable[..., Backend]:
    """Starts backends that train, with a folder of weights that they share."""

    def started(**others: object) -> Backend:
        settings = {"training_epochs": 30, "training_batch_size": 4, "training_learning_rate": 1e-3, **others}
        at = {"label_studio_url": label_studio.url, "label_studio_token": label_studio.token}
        backend = serve(weights=small, home=home, **at, **settings)
        backend.wait_until_ready()
        return backend

    return started


class Asking(threading.Thread):
    """Asks for predictions again and again, as annotators' pages do, and keeps who answered."""

    def __init__(self, url: str, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.url, self.body = url, body
        self.versions: list[str] = []
        self.failed: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=600) as client:
            while not self.enough.is_set():
                answer = client.post(f"{self.url}/predict", json=self.body)
                results = answer.json().get("results", []) if answer.status_code == 200 else []
                if len(results) == len(self.body["tasks"]) and all(results):
                    self.versions += {result["model_version"] for result in results}
                else:
                    self.failed.append(f"{answer.status_code} {answer.text[:200]}")
                self.enough.wait(0.02)


@pytest.fixture(scope="module")
def trained(label_studio: LabelStudioProcess, start: Callable[..., Backend]) -> dict[str, Any]:
    """A project that was annotated and trained on with Label Studio's own button, and what was seen meanwhile."""
    brush = TAGS[0]
    project = annotated_project(label_studio, brush, PAIRS)
    other = label_studio.project(CONFIG.format(kind=brush.kind, labels=LABELS), [("a.png", png(PAIRS[0][0]))])
    backend = start()
    connected = label_studio.connect(project, backend.url)
    assert connected.status_code == 201, connected.text
    before = connected.json()["model_version"]
    tasks = [{"id": task["id"], "data": task["data"]} for task in label_studio.tasks(project)]
    config = CONFIG.format(kind=brush.kind, labels=LABELS)
    asking = Asking(backend.url, {"tasks": tasks[:4], "project": f"{project}.1764000000", "label_config": config})
    asking.start()
    with logged_in(label_studio) as page:
        page.goto(f"{label_studio.url}/projects/{project}/settings/ml")
        page.get_by_role("button", name="Machine learning model options").click()
        page.get_by_text("Start Training", exact=True).click()
        page.get_by_text("Start Model Training", exact=True).wait_for()
        screenshot(page, "start-training")
        with page.expect_response(lambda answer: answer.url.endswith("/train")) as pressed:
            page.get_by_role("button", name="Start Training", exact=True).click()
        assert pressed.value.status == 200
    refused = httpx.post(f"{backend.url}/webhook", json={"action": "START_TRAINING", "project": {"id": project}})
    ends = (" now uses ", "failed")
    wait_for(lambda: any(end in backend.log.read_text() for end in ends), backend.process, backend.log)
    wait_for(lambda: asking.versions[-1:] != [before], backend.process, backend.log)
    asking.enough.set()
    asking.join()
    return {
        "project": project,
        "other": other,
        "backend": backend,
        "number": connected.json()["id"],
        "before": before,
        "asking": asking,
        "refused": refused,
    }


def setup(backend: Backend, project: int, **others: object) -> httpx.Response:
    return httpx.post(f"{backend.url}/setup", json={"project": f"{project}.1764000000", "schema": "<View/>", **others})


def test_the_train_button_swaps_a_better_model_in(trained: dict[str, Any], label_studio: LabelStudioProcess) -> None:
    backend, before = trained["backend"], trained["before"]
    log = backend.log.read_text()
    assert f"training, project {trained['project']}: epoch " in log
    assert re.search(r"mask mAP 0\.0\d+ before, 0\.\d+ after", log)
    assert label_studio.token not in log
    after = setup(backend, trained["project"]).json()["model_version"]
    assert after != before
    assert httpx.get(f"{backend.url}/versions").json()["versions"] == [after, before]
    metrics = httpx.get(f"{backend.url}/metrics").text
    assert "maskbridge_training_run 0.0" in metrics
    assert 'maskbridge_training_runs_total{outcome="swapped"} 1.0' in metrics
    assert "maskbridge_training_progress 1.0" in metrics
    assert setup(backend, trained["other"]).json()["model_version"] == before, "other projects keep theirs"
    with browser.new_page(1000, 1000) as page:
        page.goto(backend.url)
        page.get_by_text("in use", exact=True).wait_for()
        assert re.search(r"mask mAP 0\.0\d+ before, 0\.\d+ after", page.inner_text("body"))
        screenshot(page, "backend-status")


def test_no_request_was_dropped_while_it_trained_and_swapped(trained: dict[str, Any]) -> None:
    asking = trained["asking"]
    assert asking.failed == []
    assert asking.versions[0] == trained["before"]
    changes = [one != other for one, other in zip(asking.versions, asking.versions[1:])]
    assert sum(changes) == 1, "one model up to the swap, the other from there on, none mixed within an answer"


def test_a_second_training_meanwhile_is_refused(trained: dict[str, Any]) -> None:
    refused = trained["refused"]
    assert refused.status_code == 409
    assert f"a training run is in progress (project {trained['project']}: " in refused.json()["error"]


def test_the_new_version_predicts(trained: dict[str, Any], label_studio: LabelStudioProcess) -> None:
    project = trained["project"]
    after = setup(trained["backend"], project).json()["model_version"]
    label_studio.retrieve_predictions(project)
    right = 0
    tag = TAGS[0]("label", "image", {}, label_names=(*CLASSES[1:], "person"))
    for task in label_studio.tasks(project):
        (prediction,) = (item for item in task["predictions"] if item["model_version"] == after)
        image = int(task["data"]["image"].rpartition("-")[2].removesuffix(".png"))
        expected = PAIRS[image][1]
        if not prediction["result"]:
            continue
        for name, frame in zip((decoded := tag.decode(prediction["result"])).names, decoded.frames()):
            right += any(name == other and iou(frame, mask) > 0.5 for other, mask in zip(expected.names, expected.frames()))
    assert right >= 18, "of 24 objects"


def test_an_older_version_is_chosen_with_the_extra_parameters(
    trained: dict[str, Any], label_studio: LabelStudioProcess
) -> None:
    backend, project, before = trained["backend"], trained["project"], trained["before"]
    after = setup(backend, project).json()["model_version"]
    with label_studio.client() as client:
        changed = {"project": project, "url": backend.url, "extra_params": {"model_version": before}}
        assert client.patch(f"/api/ml/{trained['number']}", json=changed).status_code == 200
        label_studio.retrieve_predictions(project)
        assert client.get(f"/api/ml/{trained['number']}").json()["model_version"] == before
    unknown = setup(backend, project, extra_params=json.dumps({"model_version": "nosuch"}))
    assert (unknown.status_code, "no model version 'nosuch'" in unknown.text) == (400, True)
    assert setup(backend, project).json()["model_version"] == after, "without them the best answers again"


def test_the_swap_outlives_the_server(trained: dict[str, Any], start: Callable[..., Backend]) -> None:
    after = setup(trained["backend"], trained["project"]).json()["model_version"]
    again = start()
    assert setup(again, trained["project"]).json()["model_version"] == after
    assert setup(again, trained["other"]).json()["model_version"] == trained["before"]


def test_a_project_and_its_export_are_measured(
    trained: dict[str, Any], label_studio: LabelStudioProcess, settings: ServerSettings, home: Path, tmp_path: Path
) -> None:
    project = trained["project"]
    (weights,) = (home / "weights").glob(f"label-studio-{project}-*.safetensors")
    with label_studio.client() as client:
        (tmp_path / "export.json").write_bytes(client.get(f"/api/projects/{project}/export?exportType=JSON").content)
    for index, (image, _) in enumerate(PAIRS):
        (tmp_path / f"{index:02d}.png").write_bytes(png(image))
    values = {"HOME": home, "LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_TOKEN": label_studio.token}
    variables = {f"MASKBRIDGE_{name}": str(value) for name, value in {**values, "ALLOWED_HOSTS": "127.0.0.0/8"}.items()}

    def run(command: str, address: object, out: str) -> Path:
        arguments = [PROGRAM, command, address, "--weights", weights, "--device", "cpu", "-o", tmp_path / out]
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, env=os.environ | variables)
        assert done.returncode == 0, done.stderr
        assert label_studio.token not in done.stdout + done.stderr
        return tmp_path / out

    addresses = {"project": f"label-studio:{project}", "export": tmp_path / "export.json"}
    folders = [run("evaluate", address, out) for out, address in addresses.items()]
    of_project, of_export = (json.loads((f / "evaluation.json").read_text())["masks"]["numbers"] for f in folders)
    assert of_project == of_export and of_project["AP50"] > 0.5  # noqa: PT018
    predictions = json.loads((run("predict", addresses["project"], "predicted") / "predictions.json").read_text())
    assert {re.sub(r"\d+", "7", prediction["file_name"]) for prediction in predictions} == {"task 7"}


def test_a_training_that_fails_leaves_the_old_model(trained: dict[str, Any], label_studio: LabelStudioProcess) -> None:
    backend = trained["backend"]
    empty = label_studio.project(CONFIG.format(kind="BrushLabels", labels=LABELS), [("a.png", png(PAIRS[0][0]))])
    for project, reason in ((empty, "no label can be used"), (987_654, "cannot be read from Label Studio")):
        asked = httpx.post(f"{backend.url}/webhook", json={"action": "START_TRAINING", "project": {"id": project}})
        assert asked.status_code == 201
        message = f"training on project {project} failed: "
        wait_for(lambda message=message: message in backend.log.read_text(), backend.process, backend.log)
        line = next(line for line in backend.log.read_text().splitlines() if message in line)
        assert reason in line
        assert line.endswith(f"{trained['before']} stays in use")
        assert setup(backend, project).json()["model_version"] == trained["before"]
    assert "Traceback" not in backend.log.read_text()


def test_new_annotations_start_a_training(label_studio: LabelStudioProcess, start: Callable[..., Backend]) -> None:
    """By the webhook that Label Studio makes when a backend is connected."""
    backend = start(train_every=2)
    project = annotated_project(label_studio, TAGS[0], PAIRS[:3], lambda number: label_studio.connect(number, backend.url))
    wait_for(lambda: f"training on project {project} started" in backend.log.read_text(), backend.process, backend.log)
    backend.process.terminate()
    assert backend.process.wait(30) == 0
    assert backend.log.read_text().count(f"training on project {project} started") == 1
