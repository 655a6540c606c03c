"""Training runs on a project's annotations, in a separate process, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.weights.catalog import training_runs
from maskbridge.backend.errors import TrainingRefusedError
from maskbridge.backend.inference.registry import ModelRegistry, load
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import versions
from maskbridge.backend.web.metrics import Metrics

log = logging.getLogger(__name__)

_LOG_INTERVAL = 10.0
"""Seconds between two progress messages in the log."""


class Trainer:
    """Starts training runs, follows their progress, and swaps in the new model if it is better. Threads may share one.

    After a training run that fails, the project's model stays in use.
    """

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, metrics: Metrics) -> None:
        self.settings, self.registry, self.metrics = settings, registry, metrics
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._progress = ""
        self._new_annotations: Counter[int] = Counter()
        _remove_abandoned_runs()
        atexit.register(self.stop)

    def start(self, project: int | None) -> None:
        """Starts a training run on a project's annotations.

        Raises:
            TrainingRefusedError: a training run is in progress, or the project's number, a token or a package is missing.
        """
        if project is None:
            raise TrainingRefusedError("the request has no project number")
        if self.settings.token() is None:
            raise TrainingRefusedError("training reads the project from Label Studio: set MASKBRIDGE_LABEL_STUDIO_TOKEN")
        if missing := _missing_package():
            raise TrainingRefusedError(f"training needs the package {missing}: pip install 'maskbridge[train]'")
        with self._lock:
            if self._running is not None:
                raise TrainingRefusedError(f"a training run is in progress ({self._progress}): try again when it has ended")
            self._progress = f"project {project}: starting"
            target = versions.new_file(project)
            task = {
                "settings": self.settings.with_secrets(),
                "project": project,
                "start": self._start_weights(project),
                "out": str(training_runs() / target.stem),
                "target": str(target),
            }
            self._running = subprocess.Popen(
                [sys.executable, "-m", "maskbridge.backend.training.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._new_annotations.pop(project, None)
        self.metrics.training_run.set(1)
        log.info("training on project %s started", project)
        threading.Thread(target=self._follow, args=[self._running, project, task], name="training", daemon=True).start()

    def annotated(self, project: int) -> None:
        """Counts a new annotation; starts a training run after ``train_every`` of them, unless one is in progress."""
        self._new_annotations[project] += 1
        if 0 < self.settings.train_every <= self._new_annotations[project] and self._running is None:
            try:
                self.start(project)
            except TrainingRefusedError as error:
                log.warning("no training run on project %s: %s", project, error)

    def stop(self) -> None:
        """Ends the training run in progress, if there is one."""
        if (process := self._running) is not None:
            process.terminate()

    def _start_weights(self, project: int) -> str:
        name = self.registry.version_of(project)
        file = next((version.file for version in versions.trained() if version.name == name), None)
        return self.settings.weights if file is None else str(file)

    def _follow(self, process: subprocess.Popen[str], project: int, task: Mapping[str, Any]) -> None:
        done: Mapping[str, Any] = {}
        failure = ""
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 pipes, see start
            with process.stdin as pipe:
                json.dump(task, pipe)
            last_logged = 0.0
            for line in process.stdout:
                message = json.loads(line)
                failure = message.get("error", failure)
                done = message.get("done", done)
                if "message" in message:
                    self._progress = f"project {project}: {message['message']}"
                    self.metrics.training_progress.set(message.get("progress", 0))
                    if message.get("important") or time.monotonic() - last_logged > _LOG_INTERVAL:
                        log.info("training, %s", self._progress)
                        last_logged = time.monotonic()
            code = process.wait()
            if done and not failure:
                self._use_if_better(project, Path(task["target"]), done)
            else:
                raise MaskbridgeError(failure or f"its process ended with code {code}")
        except Exception as error:
            self.metrics.training_runs.labels("failed").inc()
            version = self.registry.version_of(project)
            log.error("training on project %s failed: %s; %s stays in use", project, error, version)
        finally:
            shutil.rmtree(task["out"], ignore_errors=True)  # each training run has its own folder
            self.metrics.training_run.set(0)
            self._running = None

    def _use_if_better(self, project: int, file: Path, done: Mapping[str, Any]) -> None:
        before, after, version = float(done["before"]), float(done["after"]), str(done["version"])
        figures = f"mask mAP {before:.4f} before, {after:.4f} after"
        if after > before:
            self.registry.swap(project, load(self.settings, file))
            self.metrics.training_runs.labels("swapped").inc()
            log.info("project %s now uses %s: %s", project, version, figures)
        else:
            self.metrics.training_runs.labels("kept").inc()
            log.info(
                "project %s still uses %s: %s is not better, %s",
                project,
                self.registry.version_of(project),
                version,
                figures,
            )
        self.metrics.training_score.labels(str(project)).set(after)
        for path in versions.prune(
            self.registry.used(), max_versions=self.settings.keep_versions, max_megabytes=self.settings.keep_megabytes
        ):
            log.info("deleted the old version %s", path.name)


def _remove_abandoned_runs() -> None:
    """Deletes the folders of training runs whose server was killed; the folder of a run in progress is locked."""
    if _missing_package():
        return
    from filelock import FileLock, Timeout

    for folder in training_runs().glob("label-studio-*"):
        with contextlib.suppress(Timeout, OSError), FileLock(folder / ".lock", timeout=0):
            shutil.rmtree(folder)
            log.info("deleted %s, the folder of a training run that was killed", folder.name)


def _missing_package() -> str | None:
    from importlib.util import find_spec

    return next(
        (name for name in ("pytorch_lightning", "matplotlib", "tensorboard", "filelock") if find_spec(name) is None), None
    )
