"""Training on a project's annotations, in a process of its own, one at a time."""

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

_BETWEEN_LINES = 10.0
"""Seconds between two lines of progress in the log."""


class Trainer:
    """Starts trainings, follows them, and swaps a better model in. Threads share one.

    A training that fails leaves the model that answers as it is.
    """

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, metrics: Metrics) -> None:
        self.settings, self.registry, self.metrics = settings, registry, metrics
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._said = ""
        self._new: Counter[int] = Counter()
        _remove_abandoned()
        atexit.register(self.stop)

    def start(self, project: int | None) -> None:
        """Starts a training on a project's annotations.

        Raises:
            TrainingRefusedError: one is running, or what it needs is missing.
        """
        if project is None:
            raise TrainingRefusedError("the request does not say a project's number")
        if self.settings.token() is None:
            raise TrainingRefusedError("training reads the project from Label Studio: set MASKBRIDGE_LABEL_STUDIO_TOKEN")
        if missing := _missing_package():
            raise TrainingRefusedError(f"training needs the package {missing}: pip install 'maskbridge[train]'")
        with self._lock:
            if self._running is not None:
                raise TrainingRefusedError(f"a training is running ({self._said}): ask again when it has ended")
            self._said = f"project {project}: starting"
            target = versions.new_file(project)
            task = {
                "settings": self.settings.in_clear(),
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
        self._new.pop(project, None)
        self.metrics.training.set(1)
        log.info("training on project %s begins", project)
        threading.Thread(target=self._follow, args=[self._running, project, task], name="training", daemon=True).start()

    def annotated(self, project: int) -> None:
        """Counts a new annotation; starts a training where the settings say so and none is running."""
        self._new[project] += 1
        if 0 < self.settings.train_every <= self._new[project] and self._running is None:
            try:
                self.start(project)
            except TrainingRefusedError as error:
                log.warning("no training on project %s: %s", project, error)

    def stop(self) -> None:
        """Ends the training that runs, if one does."""
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
            last = 0.0
            for line in process.stdout:
                told = json.loads(line)
                failure = told.get("error", failure)
                done = told.get("done", done)
                if "said" in told:
                    self._said = f"project {project}: {told['said']}"
                    self.metrics.training_part.set(told.get("part", 0))
                    if told.get("keep") or time.monotonic() - last > _BETWEEN_LINES:
                        log.info("training, %s", self._said)
                        last = time.monotonic()
            code = process.wait()
            if done and not failure:
                self._use_if_better(project, Path(task["target"]), done)
            else:
                raise MaskbridgeError(failure or f"its process ended with code {code}")
        except Exception as error:
            self.metrics.trainings.labels("failed").inc()
            log.error("training on project %s failed: %s; %s goes on", project, error, self.registry.version_of(project))
        finally:
            shutil.rmtree(task["out"], ignore_errors=True)  # the next training has a folder of its own
            self.metrics.training.set(0)
            self._running = None

    def _use_if_better(self, project: int, file: Path, done: Mapping[str, Any]) -> None:
        before, after, version = float(done["before"]), float(done["after"]), str(done["version"])
        figures = f"mask mAP {before:.4f} before, {after:.4f} after"
        if after > before:
            self.registry.swap(project, load(self.settings, file))
            self.metrics.trainings.labels("swapped").inc()
            log.info("project %s is answered by %s from now on: %s", project, version, figures)
        else:
            self.metrics.trainings.labels("kept").inc()
            log.info(
                "project %s keeps %s: %s is not better, %s", project, self.registry.version_of(project), version, figures
            )
        self.metrics.training_score.labels(str(project)).set(after)
        for gone in versions.prune(
            self.registry.used(), most=self.settings.keep_versions, megabytes=self.settings.keep_megabytes
        ):
            log.info("deleted the old version %s", gone.name)


def _remove_abandoned() -> None:
    """Removes what trainings of servers that were killed left; a folder in which one runs is locked."""
    if _missing_package():
        return
    from filelock import FileLock, Timeout

    for left in training_runs().glob("label-studio-*"):
        with contextlib.suppress(Timeout, OSError), FileLock(left / ".lock", timeout=0):
            shutil.rmtree(left)
            log.info("removed %s, which a training left that was killed", left.name)


def _missing_package() -> str | None:
    from importlib.util import find_spec

    return next(
        (name for name in ("pytorch_lightning", "matplotlib", "tensorboard", "filelock") if find_spec(name) is None), None
    )
