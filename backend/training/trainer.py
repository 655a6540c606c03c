"""Training runs on a project's annotations, in a separate process, one at a time."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.optional_dependencies import install_command
from maskbridge.adapter.weights.catalog import training_runs
from maskbridge.backend.errors import TrainingRefusedError
from maskbridge.backend.inference.registry import ModelRegistry, load
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.training import versions
from maskbridge.backend.training.worker import IMAGES_SUFFIX
from maskbridge.backend.web.metrics import Metrics

log = logging.getLogger(__name__)

_LOG_INTERVAL = 10.0
"""Seconds between two progress messages in the log."""


@dataclass
class TrainingRun:
    """A training run as the server knows it; its thread updates it.

    Attributes:
        project: the project's number.
        process: its process.
        started: in seconds since 1970.
        message: what it does, or how it ended.
        progress: 0 to 1.
        losses: of all steps so far.
        in_progress: False once it has ended.
    """

    project: int
    process: subprocess.Popen[str]
    started: float = field(default_factory=time.time)
    message: str = "starting"
    progress: float = 0.0
    losses: list[float] = field(default_factory=list)
    in_progress: bool = True


class Trainer:
    """Starts training runs, follows their progress, and swaps in the new model if it is better. Threads may share one.

    After a training run that fails, the project's model stays in use. Its process ends when this one does.

    Attributes:
        run: the training run in progress, else the last one; None before the first.
    """

    run: TrainingRun | None = None

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, metrics: Metrics) -> None:
        self.settings, self.registry, self.metrics = settings, registry, metrics
        self._lock = threading.Lock()
        self._new_annotations: LRUCache[int, int] = LRUCache(10_000)
        _remove_abandoned_runs()
        atexit.register(self.stop)

    def start(self, project: int | None, public_url: str | None = None) -> None:
        """Starts a training run on a project's annotations.

        Args:
            project: its number.
            public_url: an address that the project's tasks have for Label Studio, besides that of the settings.

        Raises:
            TrainingRefusedError: a training run is in progress, or the project's number, a token or a package is missing.
        """
        if project is None:
            raise TrainingRefusedError("the request has no project number")
        if self.settings.token() is None:
            raise TrainingRefusedError("training reads the project from Label Studio: set MASKBRIDGE_LABEL_STUDIO_TOKEN")
        if missing := _missing_package():
            raise TrainingRefusedError(f"training needs the package {missing}: {install_command('train')}")
        with self._lock:
            if self.run is not None and self.run.in_progress:
                progress = f"project {self.run.project}: {self.run.message}"
                raise TrainingRefusedError(f"a training run is in progress ({progress}): try again when it has ended")
            target = versions.new_file(project)
            settings = self.settings.with_secrets()
            settings["label_studio_public_url"] += f",{public_url or ''}"
            task = {
                "settings": settings,
                "project": project,
                "start": self._start_weights(project),
                "out": str(training_runs() / target.stem),
                "target": str(target),
            }
            # Its standard input is open as long as this process lives: the worker ends when it is closed.
            process = subprocess.Popen(
                [sys.executable, "-m", "maskbridge.backend.training.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            run = self.run = TrainingRun(project, process)
            self._new_annotations.pop(project, None)
        self.metrics.training_run.set(1)
        log.info("training on project %s started", project)
        threading.Thread(target=self._follow, args=[run, task], name="training", daemon=True).start()

    def annotated(self, project: int, count: int = 1, public_url: str | None = None) -> None:
        """Counts new and changed annotations; ``train_every`` of them start a training run, unless one is in progress.

        Args: as in `start`, and the number of annotations.
        """
        if not self.settings.train_every:
            return
        with self._lock:
            total = self._new_annotations[project] = self._new_annotations.get(project, 0) + count
            in_progress = self.run is not None and self.run.in_progress
        if total >= self.settings.train_every and not in_progress:
            try:
                self.start(project, public_url)
            except TrainingRefusedError as error:
                log.warning("no training run on project %s: %s", project, error)

    def stop(self) -> None:
        """Ends the training run in progress, if there is one."""
        if self.run is not None:
            _kill(self.run.process)

    def _start_weights(self, project: int) -> str:
        file = self.registry.file_of(project)
        return self.settings.weights if file is None else str(file)

    def _follow(self, run: TrainingRun, task: Mapping[str, Any]) -> None:
        process = run.process
        done: Mapping[str, Any] = {}
        failure = ""
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 pipes, see start
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            last_logged = 0.0
            for line in process.stdout:
                message = json.loads(line)
                failure = message.get("error", failure)
                done = message.get("done", done)
                if "loss" in message:
                    run.losses.append(message["loss"])
                if "message" in message:
                    run.message, run.progress = message["message"], message.get("progress", run.progress)
                    self.metrics.training_progress.set(run.progress)
                    if message.get("important") or time.monotonic() - last_logged > _LOG_INTERVAL:
                        log.info("training, project %s: %s", run.project, run.message)
                        last_logged = time.monotonic()
            code = process.wait()
            if not done or failure:
                raise MaskbridgeError(failure or f"its process ended with code {code}")
            run.message = self._use_if_better(run.project, Path(task["target"]), done)
            log.info("project %s %s", run.project, run.message)
        except Exception as error:
            self.metrics.training_runs.labels("failed").inc()
            version = self.registry.version_of(run.project)
            run.message = f"failed: {error}; {version} stays in use"
            log.error("training on project %s %s", run.project, run.message)
        finally:
            _kill(process)
            for folder in (task["out"], f"{task['out']}{IMAGES_SUFFIX}"):  # each training run has its own
                shutil.rmtree(folder, ignore_errors=True)
            self.metrics.training_run.set(0)
            run.in_progress = False

    def _use_if_better(self, project: int, file: Path, done: Mapping[str, Any]) -> str:
        """Swaps the new model in if it is better, deletes old versions, and returns the outcome in words."""
        before, after, version = float(done["before"]), float(done["after"]), str(done["version"])
        figures = f"mask mAP {before:.4f} before, {after:.4f} after"
        if after > before:
            self.registry.swap(project, version, load(self.settings, file))
            outcome = f"now uses {self.registry.version_of(project)}: {figures}"
        else:
            outcome = f"still uses {self.registry.version_of(project)}: {version} is not better, {figures}"
        self.metrics.training_runs.labels("swapped" if after > before else "kept").inc()
        self.metrics.training_score.labels(str(project)).set(after)
        for path in versions.prune(
            self.registry.used(), max_versions=self.settings.keep_versions, max_megabytes=self.settings.keep_megabytes
        ):
            log.info("deleted the old version %s", path.name)
        return outcome


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends a training run and its child processes at once; does nothing if it has ended."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _remove_abandoned_runs() -> None:
    """Deletes the folders of training runs that were killed, with their images; those of a run in progress are locked."""
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
