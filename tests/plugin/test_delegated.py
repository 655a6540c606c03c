"""Delegated runs, by a real ``fiftyone delegated launch`` process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService

from delegated_process import launched
from maskbridge.plugin.jobs import records
from waiting import wait_for

URI = "@maskbridge/maskbridge/segment_instances"
COUNT = 120


@pytest.fixture
def many(dataset: fo.Dataset, images: list[Path], tmp_path: Path) -> fo.Dataset:
    for index in range(COUNT):
        (tmp_path / f"{index:03}.jpg").symlink_to(images[index % len(images)])
    dataset.add_samples([fo.Sample(str(path)) for path in sorted(tmp_path.glob("*.jpg"))], progress=False)
    dataset.persistent = True
    return dataset


def test_killed_half_way_and_launched_again(many: fo.Dataset) -> None:
    operator = foo.get_operator(URI)
    operator(many, "undisturbed", weights="bundled", progress=False)
    queued = operator(many, "predicted", weights="bundled", delegate=True)
    assert queued.delegated
    with launched() as process:
        wait_for(
            lambda: many.count("predicted") > 10 if many.has_field("predicted") else (many.reload(), False)[1], process
        )
        os.killpg(process.pid, signal.SIGKILL)
    done = many.count("predicted")
    assert 10 < done < COUNT, "the run was over before it was killed"
    killed = records.describe(many, records.keys(many)[0])
    assert killed["state"] == "running", "a killed run leaves a trace"

    again = operator(many, "predicted", weights="bundled", existing="skip", delegate=True)
    service, progress = DelegatedOperationService(), []

    def ended() -> bool:
        operation = service.get(again.result["id"])
        if operation.status is not None and operation.status.progress not in (None, *progress[-1:]):
            progress.append(operation.status.progress)
        assert operation.run_state != "failed", operation.result
        return operation.run_state == "completed"

    with launched() as process:
        wait_for(ended, process)
    many.reload()
    report = records.describe(many, records.keys(many)[0])
    assert (report["state"], report["total"], report["skipped"]) == ("completed", COUNT - done, done)
    assert len(progress) > 3, "the Runs page saw it move"
    for actual, expected in zip(many.values("predicted"), many.values("undisturbed")):
        assert [(d.label, d.confidence, d.bounding_box) for d in actual.detections] == [
            (d.label, d.confidence, d.bounding_box) for d in expected.detections
        ]
