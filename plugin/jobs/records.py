"""Records of runs: each run is stored on its dataset from its start, with its request, its counts and its failures.

A run is one of FiftyOne's custom runs, so ``dataset.list_runs()`` lists it, and it is deleted with the dataset. Its state
is ``running`` until it ends; that of a killed run stays so, with the time of its last heartbeat.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

from maskbridge.adapter.errors import SettingsError, nearest

METHOD = "maskbridge"
MAX_FAILURES = 10_000
"""Failures that are stored with a run; further ones are only counted, since MongoDB limits the size of a document."""


def start(dataset: fo.Dataset, operator: str, request: Mapping[str, Any], **values: Any) -> str:
    """Registers a run; returns its key, ``maskbridge_<field>_<time>``."""
    field = re.sub(r"\W", "_", str(request["label_field"]))
    stem = f"{METHOD}_{field}_{time.strftime('%Y%m%d_%H%M%S')}"
    existing, key, number = set(dataset.list_runs()), stem, 1
    while key in existing:
        number += 1
        key = f"{stem}_{number}"
    config = dataset.init_run(
        method=METHOD, operator=operator, request=dict(request), state="running", started=time.time(), **values
    )
    dataset.register_run(key, config)
    return key


def update(dataset: fo.Dataset, key: str, **values: Any) -> None:
    """Sets values of a stored run."""
    config = dataset.get_run_info(key).config
    for name, value in {"heartbeat": time.time(), **values}.items():
        setattr(config, name, value)
    dataset.update_run_config(key, config)


def finish(dataset: fo.Dataset, key: str, state: str, failures: Sequence[Any], **values: Any) -> None:
    """Ends a run as ``completed``, ``stopped`` or ``failed``, with the samples that failed and why."""
    _stops().delete_many({"dataset": dataset.name, "run": key})
    stored = [asdict(failure) for failure in failures[:MAX_FAILURES]]
    update(dataset, key, state=state, ended=time.time(), failed=len(failures), failures=stored, **values)


def describe(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """Everything that is stored of a run.

    Raises:
        SettingsError: the dataset has no such run of this plugin.
    """
    dataset.reload()
    run_keys = dataset.list_runs(method=METHOD)
    if key not in run_keys:
        raise SettingsError(f"no run {key!r} on {dataset.name!r}: {nearest(str(key), run_keys)}")
    info = dataset.get_run_info(key)
    return {name: value for name, value in info.config.serialize().items() if name not in ("type", "cls", "method")}


def keys(dataset: fo.Dataset, *, state: str | None = None) -> list[str]:
    """The keys of the runs of this plugin, newest first; of those in a state, or of all.

    Example:
        >>> dataset = fo.Dataset()
        >>> key = start(dataset, "segment_instances", {"label_field": "instances"})
        >>> keys(dataset, state="running") == [key]
        True
    """
    dataset.reload()  # the run may be in another process
    of_state = {} if state is None else {"state": state}
    return sorted(dataset.list_runs(method=METHOD, **of_state), key=lambda key: -describe(dataset, key)["started"])


def unchanged_failures(dataset: fo.Dataset, field: str) -> dict[str, dict[str, Any]]:
    """What failed in earlier runs that wrote a field, and whose file is as it was then, by the sample's id.

    Example:
        >>> dataset = fo.Dataset()
        >>> unchanged_failures(dataset, "instances")
        {}
    """
    failures: dict[str, dict[str, Any]] = {}
    for key in reversed(keys(dataset)):
        run = describe(dataset, key)
        wrote = run.get("field") == field and run.get("operator") != "finetune"
        for failure in run.get("failures") or () if wrote else ():
            if failure["sample_id"] is not None and _changed(failure["path"]) <= run["started"]:
                failures[failure["sample_id"]] = dict(failure)
    return failures


def _changed(path: str) -> float:
    """When a file was last written, moved or copied to where it is; 0 if it does not exist."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0.0
    return max(status.st_mtime, status.st_ctime)


def request_stop(dataset: fo.Dataset, key: str) -> None:
    """Requests that a run stops; the run checks after each batch, in whatever process it works."""
    _stops().update_one({"dataset": dataset.name, "run": key}, {"$set": {"at": time.time()}}, upsert=True)


def is_stopped(dataset: fo.Dataset, key: str) -> bool:
    """Whether a stop of the run was requested."""
    return _stops().find_one({"dataset": dataset.name, "run": key}) is not None


def _stops() -> Any:
    return foo.get_db_conn()["maskbridge.stops"]
