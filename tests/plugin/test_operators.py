"""The operators from code, on a real mongod: what they write, keep, refuse, and survive."""

from __future__ import annotations

import contextvars
import shutil
import threading
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest

from maskbridge.adapter import MaskbridgeError, SettingsError, WeightsError
from maskbridge.plugin.jobs import records
from maskbridge.plugin.jobs.segment_instances import segment_instances
from maskbridge.plugin.labels import to_detections
from maskbridge.plugin.operators import OPERATORS
from maskbridge.plugin.operators.describe_run import as_markdown, failed_samples
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest
from plugin_operators import FAST, URI, operator


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
    names = sorted(kind(_builtin=False).config.name for kind in OPERATORS)
    assert done.stdout.splitlines()[-1] == f"{names} False"


def test_segment_instances_writes_what_the_adapter_finds(filled: fo.Dataset, bundled: Any) -> None:
    report = operator("segment_instances")(filled, "predicted", confidence=0.3, batch_size=2, num_workers=1, **FAST)
    expected = [to_detections(bundled.predict(p, confidence_threshold=0.3)[0]) for p in filled.values("filepath")]
    assert [len(labels.detections) for labels in filled.values("predicted")] == [len(e.detections) for e in expected]
    assert report["objects"] == sum(len(e.detections) for e in expected) > 0
    assert (report["state"], report["done"], report["failed"]) == ("completed", 5, 0)


@pytest.mark.parametrize("field", ["my field-1", "Bücher/1", "7th"])
def test_fields_have_the_names_that_fiftyone_allows(field: str, people: fo.Dataset, tmp_path: Path) -> None:
    options = {"masks": "folder", "mask_folder": str(tmp_path / "masks"), **FAST}
    report = operator("segment_instances")(people, field, **options)
    assert (report["state"], people.count(f"{field}.detections")) == ("completed", report["objects"])
    assert people.get_run_info(report["run_key"]).config.request["label_field"] == field
    paths = people.values(f"{field}.detections.mask_path", unwind=True)
    assert {Path(path).parent.parent for path in paths} == {tmp_path / "masks"}
    with pytest.raises(SettingsError, match="a field name without dots"):
        operator("segment_instances")(people, f"_{field}", **options)


def test_a_run_is_kept_with_its_field(filled: fo.Dataset, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    bad = fo.Sample(str(tmp_path / "text.jpg"))
    filled.add_sample(bad)
    key = operator("segment_instances")(filled, "predicted", confidence=0.4, **FAST)["run_key"]
    assert key.startswith("maskbridge_predicted_")
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
        ({"confidence": 4}, "confidence is a number from 0 to 1, not 4"),
        ({"confidnce": 0.5}, "did you mean 'confidence'"),
        ({"label_field": "filepath"}, "holds StringField, not Detections"),
        ({"label_field": "a.b"}, "label_field is a field name without dots"),
        ({"existing": "stop"}, "5 samples have labels in 'predicted' already"),
        ({"existing": "stopp"}, "existing is one of replace, skip, stop, not 'stopp'"),
        ({"masks": "folder"}, "mask_folder is an absolute path"),
        ({"masks": "polylines"}, "holds Detections, not Polylines"),
        ({"classes": ["persn"]}, "did you mean 'person'"),
        ({"batch_size": 0}, "batch_size is a whole number from 1"),
        ({"max_detections": 1.5}, "max_detections is a whole number"),
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


def test_the_engine_that_answers_is_in_the_record(people: fo.Dataset) -> None:
    operator("segment_instances")(people, "whole", **FAST)
    operator("segment_instances")(people, "part", engine="onnxruntime", streams=2, **FAST)
    described = [records.describe(people, key) for key in records.keys(people)]
    assert {run["field"]: run["engine"] for run in described} == {
        "whole": "torch in float32",
        "part": "onnxruntime in float32",
    }
    assert len({run["fingerprint"] for run in described}) == 2
    assert people.count("part.detections") == people.count("whole.detections")


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


def test_each_step_in_a_context_of_its_own(people: fo.Dataset) -> None:
    """As in the App's server, which takes each step of a run in another thread."""
    run, reports = segment_instances(people, request(label_field="predicted")), []

    def step() -> None:
        try:
            next(run)
        except StopIteration as end:
            reports.append(end.value)

    while not reports:
        contextvars.copy_context().run(step)
    assert (reports[0].state, reports[0].done) == ("completed", len(people))


def test_polylines(people: fo.Dataset) -> None:
    operator("segment_instances")(people, "outlines", masks="polylines", **FAST)
    assert all(line.filled and line.closed for labels in people.values("outlines") for line in labels.polylines)
    assert people.count("outlines.polylines") > 10


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
