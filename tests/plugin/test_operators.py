"""The operators from code, on a real mongod: what they write, keep, refuse, and survive."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from PIL import Image

from maskbridge.adapter import MaskbridgeError, SettingsError, WeightsError
from maskbridge.plugin.jobs import records
from maskbridge.plugin.jobs.segment_instances import segment_instances
from maskbridge.plugin.labels import to_detections
from maskbridge.plugin.operators.describe_run import as_markdown, failed_samples
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest

URI = "@maskbridge/maskbridge"
FAST = {"weights": "bundled", "progress": False}


def operator(name: str) -> Any:
    return foo.get_operator(f"{URI}/{name}")


@pytest.fixture
def filled(dataset: fo.Dataset, images: list[Path]) -> fo.Dataset:
    dataset.add_samples([fo.Sample(str(path)) for path in images[:5]], progress=False)
    return dataset


@pytest.fixture
def people(dataset: fo.Dataset, astronaut: np.ndarray, tmp_path: Path) -> fo.Dataset:
    """Twelve images of a person."""
    for index in range(12):
        Image.fromarray(np.roll(astronaut, 7 * index, axis=1)).save(tmp_path / f"{index:02}.png")
    dataset.add_samples([fo.Sample(str(path)) for path in sorted(tmp_path.glob("*.png"))], progress=False)
    return dataset


def request(**options: Any) -> SegmentInstancesRequest:
    return SegmentInstancesRequest.from_options(**{"weights": "bundled", **options})


def summary(dataset: fo.Dataset, field: str) -> list[Any]:
    return [
        None if labels is None else [(d.label, d.confidence, d.bounding_box) for d in labels.detections]
        for labels in dataset.values(field)
    ]


def test_all_operators_are_listed_without_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, fiftyone.operators as foo;"
        "print(sorted(o.name for o in foo.list_operators(builtin=False)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = ["describe_run", "finetune", "segment_boxes", "segment_instances", "stop_run"]
    assert done.stdout.splitlines()[-1] == f"{names} False"


def test_segment_instances_writes_what_the_adapter_finds(filled: fo.Dataset, bundled: Any) -> None:
    report = operator("segment_instances")(filled, "predicted", confidence=0.3, batch_size=2, num_workers=1, **FAST)
    expected = [to_detections(bundled.predict(p, confidence_threshold=0.3)[0]) for p in filled.values("filepath")]
    assert [len(labels.detections) for labels in filled.values("predicted")] == [len(e.detections) for e in expected]
    assert report["objects"] == sum(len(e.detections) for e in expected) > 0
    assert (report["state"], report["done"], report["failed"]) == ("completed", 5, 0)


def test_a_run_is_kept_with_its_field(filled: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    bad = fo.Sample(str(tmp_path / "text.jpg"))
    filled.add_sample(bad)
    key = operator("segment_instances")(filled, "predicted", confidence=0.4, **FAST)["run_key"]
    assert key.startswith("maskbridge_found_")
    run = operator("describe_run")(filled, key)
    assert (run["state"], run["done"], run["failed"], run["total"]) == ("completed", 6, 1, 6)
    assert run["fingerprint"] == "8abe57d886f2"
    assert run["request"]["confidence"] == 0.4
    assert failed_samples(filled, run).values("id") == [bad.id]
    for part in ("bundled", "`8abe57d886f2`", "1 failed: not an image", "| confidence | 0.4 |"):
        assert part in as_markdown(run)
    with pytest.raises(SettingsError, match="no run 'nothing'"):
        operator("describe_run")(filled, "nothing")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"confidence": 4}, "confidence: a number from 0 to 1, not 4"),
        ({"confidnce": 0.5}, "did you mean 'confidence'"),
        ({"label_field": "filepath"}, "holds StringField, not Detections"),
        ({"label_field": "a b"}, "no field name"),
        ({"existing": "stop"}, "5 samples have labels in 'predicted' already"),
        ({"existing": "stopp"}, "did you mean 'stop'"),
        ({"masks": "folder"}, "mask_folder: an absolute path"),
        ({"masks": "polylines"}, "holds Detections, not Polylines"),
        ({"classes": ["persn"]}, "did you mean 'person'"),
        ({"batch_size": 0}, "batch_size: a whole number from 1"),
        ({"max_detections": 1.5}, "max_detections: a whole number"),
        ({"device": "tpu"}, "device 'tpu' cannot be used"),
    ],
)
def test_wrong_requests_change_nothing(options: dict[str, Any], says: str, filled: fo.Dataset) -> None:
    filled.set_values("predicted", [fo.Detections() for _ in filled])
    with pytest.raises(SettingsError, match=says):
        operator("segment_instances")(filled, **{"label_field": "predicted", **FAST, **options})
    with pytest.raises(WeightsError, match="no such file"):
        operator("segment_instances")(filled, "new", weights="nowhere.pth", progress=False)
    assert records.keys(filled) == []


def test_a_stopped_run_resumes_with_skip(people: fo.Dataset) -> None:
    whole = operator("segment_instances")(people, "whole", **FAST)
    job = segment_instances(people, request(label_field="part"))
    for progress in job:
        if progress.done == 5:
            operator("stop_run")(people, records.keys(people, state="running")[0])
    key = records.keys(people)[0]
    assert records.describe(people, key)["state"] == "stopped"
    assert 5 <= people.count("part") < 12
    report = operator("segment_instances")(people, "part", existing="skip", **FAST)
    assert report["total"] == 12 - 5
    assert summary(people, "part") == summary(people, "whole")
    assert whole["objects"] == people.count("part.detections")


def test_closing_a_run_ends_it_as_stopped(people: fo.Dataset) -> None:
    job = segment_instances(people, request(label_field="part"))
    next(job), next(job)
    job.close()
    assert records.describe(people, records.keys(people)[0])["state"] == "stopped"


def test_two_runs_at_once_on_one_dataset(people: fo.Dataset) -> None:
    reports = []
    threads = [
        threading.Thread(target=lambda f=field: reports.append(operator("segment_instances")(people, f, **FAST)))
        for field in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report["state"] for report in reports] == ["completed"] * 2
    assert len({report["run_key"] for report in reports}) == 2
    assert [len(labels.detections) for labels in people.values("one")] == [
        len(labels.detections) for labels in people.values("two")
    ]


def test_a_dataset_deleted_under_a_run(people: fo.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    job = segment_instances(people, request(masks="folder", mask_folder=str(folder)))
    for _ in range(4):
        next(job)
    assert list(folder.rglob("*.png"))
    fo.delete_dataset(people.name)
    with pytest.raises(MaskbridgeError, match="the dataset was deleted"):
        list(job)
    assert not list(folder.rglob("*.png"))


def test_a_mask_folder_holds_no_orphans(people: fo.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    options = {"masks": "folder", "mask_folder": str(folder), **FAST}
    for confidence in (0.1, 0.6, 0.6):
        operator("segment_instances")(people, "predicted", confidence=confidence, **options)
        stored = {path for labels in people.values("predicted") for path in [d.mask_path for d in labels.detections]}
        assert stored == {str(path) for path in folder.rglob("*") if path.is_file()}
    detection = people.first().predicted.detections[0]
    assert set(np.unique(detection.get_mask())) == {0, 255}


def test_a_wrong_request_is_an_error_before_the_app_streams(filled: fo.Dataset) -> None:
    with pytest.raises(Exception, match="a number from 0 to 1, not 7"):
        foo.execute_operator(f"{URI}/segment_instances", {"dataset": filled}, params={"confidence": 7})


def test_polylines(people: fo.Dataset) -> None:
    operator("segment_instances")(people, "outlines", masks="polylines", **FAST)
    assert all(line.filled and line.closed for labels in people.values("outlines") for line in labels.polylines)
    assert people.count("outlines.polylines") > 10


@pytest.fixture
def boxes(people: fo.Dataset) -> fo.Dataset:
    operator("segment_instances")(people, "predicted", **FAST)
    for sample in people:
        for detection in sample.predicted.detections:
            detection.mask, detection.confidence = None, None
            detection["checked_by"] = "ann"
            detection.tags = ["checked"]
        sample.save()
    return people


def test_masks_for_boxes_keep_everything_else(boxes: fo.Dataset) -> None:
    operator("segment_boxes")(boxes, "predicted", new_field="filled", **FAST)
    for sample in boxes:
        for before, after in zip(sample.predicted.detections, sample.filled.detections):
            assert before.mask is None
            assert after.mask.any()
            assert (after.id, after.label, after.tags) == (before.id, before.label, before.tags)
            assert (after.confidence, after["checked_by"]) == (None, "ann")
            np.testing.assert_allclose(after.bounding_box, before.bounding_box, atol=1e-6)
    first = boxes.first().filled.detections[0].mask
    operator("segment_boxes")(boxes, "predicted", **FAST)
    np.testing.assert_array_equal(boxes.first().predicted.detections[0].mask, first)


def test_masks_for_odd_boxes_and_labels(boxes: fo.Dataset) -> None:
    sample = boxes.first()
    mine = np.ones((3, 3), dtype=bool)
    sample["predicted"] = fo.Detections(
        detections=[
            fo.Detection(label="zebra crossing", bounding_box=[0.2, 0.1, 0.5, 0.7]),
            fo.Detection(label="person", bounding_box=[0.2, 0.1, 0.0, 0.7]),
            fo.Detection(label="person", bounding_box=[0.2, 0.1, 0.1, 0.1], mask=mine, confidence=0.5),
        ]
    )
    sample.save()
    report = operator("segment_boxes")(boxes.limit(1), "predicted", **FAST)
    sample.reload()
    unknown, empty, kept = sample.predicted.detections
    assert unknown.label == "zebra crossing"
    assert unknown.mask.any()
    assert empty.mask is None
    assert kept.mask.all()
    assert report["failed"] == 1
    for field, says in (("filepath", "holds no detections"), ("nothing", "is not there")):
        with pytest.raises(SettingsError, match=says):
            operator("segment_boxes")(boxes, field, **FAST)


@pytest.mark.parametrize(
    "options",
    [{"new_field": "no name"}, {"new_field": "1st"}, {"mask_threshold": 2}, {"num_workers": -1}, {"mask_treshold": 0.5}],
)
def test_wrong_options_for_boxes_are_named(boxes: fo.Dataset, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        operator("segment_boxes")(boxes, "predicted", **{**FAST, **options})


def test_patches_run_on_their_images_and_groups_on_their_slice(boxes: fo.Dataset, images: list[Path]) -> None:
    patches = boxes.to_patches("predicted")
    report = operator("segment_instances")(patches, "again", **FAST)
    assert 1 < report["total"] == len(set(patches.values("sample_id"))) <= len(boxes)
    groups = fo.Dataset()
    groups.add_group_field("group", default="left")
    for path in images[:2]:
        group = fo.Group()
        samples = [fo.Sample(str(path), group=group.element(name)) for name in ("left", "right")]
        groups.add_samples(samples, progress=False)
    assert operator("segment_instances")(groups, "predicted", **FAST)["total"] == 2
    assert groups.select_group_slices("right").count("predicted") == 0
    groups.delete()


def test_frames_of_videos(dataset: fo.Dataset, astronaut: np.ndarray, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        import os

        assert not os.environ.get("CI"), "CI installs ffmpeg"
        pytest.skip("FiftyOne reads videos with ffmpeg, which is not installed")
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (256, 256))
    for _ in range(6):
        writer.write(cv2.resize(astronaut[:, :, ::-1], (256, 256)))
    writer.release()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    dataset.add_samples([fo.Sample(str(tmp_path / name)) for name in ("a.mp4", "broken.mp4")], progress=False)
    report = operator("segment_instances")(dataset, "predicted", batch_size=4, **FAST)
    assert dataset.count("frames.predicted") == 6
    assert (report["state"], report["failed"]) == ("completed", 1)
    assert operator("segment_instances")(dataset.limit(1), "predicted", existing="skip", **FAST)["total"] == 0


class Context:
    """Enough of an operator's context to resolve a form."""

    def __init__(self, dataset: fo.Dataset, **params: Any) -> None:
        from fiftyone.operators.executor import ExecutionContext

        self.ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, operator_uri=URI)

    def form(self, name: str) -> Any:
        return operator(name).resolve_input(self.ctx).type.properties


def test_forms_name_what_is_wrong(filled: fo.Dataset) -> None:
    fields = Context(filled).form("segment_instances")
    assert fields["weights"].default == "bundled"
    assert fields["confidence"].default == 0.5
    assert "existing" not in fields
    assert not any(field.invalid for field in fields.values())
    wrong = Context(filled, confidence=3, label_field="filepath", more=True, batch_size=-1).form("segment_instances")
    assert [name for name, field in wrong.items() if field.invalid] == ["label_field", "confidence", "batch_size"]
    assert "from 0 to 1" in wrong["confidence"].error_message
    filled.set_values("predicted", [fo.Detections() for _ in filled])
    assert "existing" in Context(filled, label_field="predicted").form("segment_instances")
    assert "mask_folder" in Context(filled, masks="folder").form("segment_instances")
    assert Context(filled, weights="another file", weights_file="a.exe").form("segment_instances")["weights_file"].invalid
    assert "none" in Context(filled).form("describe_run")
    operator("segment_instances")(filled, "predicted", **FAST)
    assert "description" in Context(filled).form("describe_run")
    assert "none" in Context(filled).form("stop_run")
    assert Context(filled).form("segment_boxes")["label_field"].default == "predicted"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The plugin's folder as an archive on a web server, as a model source."""
    import http.server

    from conftest import ROOT

    shutil.make_archive(str(tmp_path / "maskbridge"), "zip", ROOT, "plugin")
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "zoo"))
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/maskbridge.zip"
        server.shutdown()


def test_the_model_source(zoo: str, filled: fo.Dataset) -> None:
    import fiftyone.zoo as foz

    foz.register_zoo_model_source(zoo)
    names = [name for name in foz.list_zoo_models() if name.startswith("maskbridge/")]
    assert len(names) == 3
    model = foz.load_zoo_model("maskbridge/bundled", confidence_threshold=0.3)
    filled.apply_model(model, label_field="zoo", progress=False)
    assert filled.count("zoo") == 5
