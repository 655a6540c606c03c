"""Predictions for tasks: plans, a cache, and a deadline around the jobs of their images."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeAlias

import torch

from maskbridge.adapter.confidence import confidence_of
from maskbridge.backend.inference.image_jobs import ImageJob, ImageJobs
from maskbridge.backend.inference.projects import Projects
from maskbridge.backend.inference.registry import ModelRegistry, ServingModel
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.web.metrics import Metrics, Outcome
from maskbridge.labelstudio import pipeline
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.decoding import decode, pixel_count
from maskbridge.labelstudio.images.fetching import Fetcher
from maskbridge.labelstudio.label_config import LabelConfigError
from maskbridge.labelstudio.pipeline import ImageRegions
from maskbridge.labelstudio.plan import ImagePlan, Plan, make_plan, plan_for_task
from maskbridge.labelstudio.tasks import image_key, image_values

log = logging.getLogger(__name__)


Known: TypeAlias = "Future[ImageRegions] | ImageRegions | TaskImageError"
"""What is known of an image's regions: that they are being computed, what they are, or why there are none."""


@dataclass(frozen=True)
class _Request:
    """What the images of one request share."""

    label_config: str
    plan: Plan
    serving: ServingModel
    project: int | None
    public_url: str | None


class Predictor:
    """Answers tasks with predictions. Threads may share one; `start` starts its own threads.

    Images that are not done at a request's deadline are still completed, and their results are cached for the next request.
    """

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, fetcher: Fetcher, metrics: Metrics) -> None:
        self.settings, self.registry, self.fetcher, self.metrics = settings, registry, fetcher, metrics
        self.projects = Projects()
        self.jobs = ImageJobs(settings, registry, fetcher, metrics)

    def __len__(self) -> int:
        """The number of images that wait or are being processed."""
        return len(self.jobs)

    def start(self) -> None:
        """Starts the threads."""
        self.jobs.start()

    def predict(
        self,
        tasks: Sequence[Mapping[str, object]],
        label_config: str,
        project: int | None = None,
        *,
        seconds: float | None = None,
    ) -> list[bytes]:
        """A prediction for each task, as JSON; ``[]`` for a task without one (yet).

        Args:
            tasks: Label Studio's tasks, with ``id`` and ``data``.
            label_config: the project's.
            project: the project's number, which distinguishes equal paths of images in different projects.
            seconds: time limit; by default the deadline in the settings.

        Raises:
            LabelConfigError: the label config cannot be read.
        """
        deadline = time.monotonic() + (self.settings.deadline if seconds is None else seconds)
        self.projects.called(project)
        serving = self.registry.get(project)
        plan = self.plan(label_config, serving)
        request = _Request(label_config, plan, serving, project, self.projects.hostname_of(project))
        submitted = self._submit(tasks, request, deadline)
        futures = [image for images in submitted for image in images or () if isinstance(image, Future)]
        wait(futures, timeout=max(deadline - time.monotonic(), 0))
        outcomes: Counter[Outcome] = Counter()
        answers = []
        for images in submitted:
            outcome, answer = _answer(images, serving.version)
            outcomes[outcome] += 1
            answers.append(answer)
        late = len(tasks) - len(submitted)
        if late:
            outcomes["later"] += late
            log.warning("%d of %d tasks of one request were not looked at before its deadline", late, len(tasks))
        for outcome, count in outcomes.items():
            self.metrics.tasks.labels(outcome).inc(count)
        return answers + [b"[]"] * late

    def plan(self, label_config: str, serving: ServingModel) -> Plan:
        """The plan of a label config for a model.

        Raises:
            LabelConfigError: the label config cannot be read.
        """
        return make_plan(label_config, serving.model.class_names, confidence_of(self.settings.confidence))

    def task_plan(self, label_config: str, serving: ServingModel, task: Mapping[str, object]) -> Plan:
        """The plan of a label config for a model and one task.

        Raises:
            LabelConfigError: the label config cannot be read, or has too many tags for this task.
        """
        data = task.get("data")
        confidence = confidence_of(self.settings.confidence)
        return plan_for_task(label_config, serving.model.class_names, confidence, data if isinstance(data, Mapping) else {})

    def decode_now(self, data: bytes) -> torch.Tensor:
        """Decodes the image of a click (uint8 [3, H, W]) without waiting for the images of tasks.

        Raises:
            TaskImageError: the bytes are not an image, or the image is too large.
        """
        pixel_count(data, self.jobs.max_pixels)
        return decode(data)

    def _submit(
        self, tasks: Sequence[Mapping[str, object]], request: _Request, deadline: float
    ) -> list[list[Known] | None]:
        """The images of each task, up to the deadline; None for a task without a tag to fill. New jobs are queued."""
        new: list[ImageJob] = []
        submitted: list[list[Known | ImageJob] | None] = []
        for task in tasks:
            if time.monotonic() > deadline:
                break
            submitted.append(self._images_of(task, request, new))
        futures = self.jobs.submit(new)
        return [
            None if images is None else [futures[one.key] if isinstance(one, ImageJob) else one for one in images]
            for images in submitted
        ]

    def _images_of(
        self, task: Mapping[str, object], request: _Request, new: list[ImageJob]
    ) -> list[Known | ImageJob] | None:
        """The images of a task; jobs that are neither cached nor pending go to ``new``, as long as the queue has room."""
        images: list[Known | ImageJob] = []
        task_id = task.get("id")
        task_id = task_id if isinstance(task_id, int) else None
        try:
            plan = request.plan
            if plan.config.depends_on_task:
                plan = self.task_plan(request.label_config, request.serving, task)
            if plan.config.missing:
                raise TaskImageError("task", f"the task's data has no list {', '.join(plan.config.missing)}")
            for image in plan.images:
                for job in self._jobs_of(task, task_id, image, plan.key, request):
                    known = self.jobs.find(job.key)
                    if known is None:
                        if len(new) >= self.settings.queue_size:
                            raise TaskImageError("queue_full", "the queue is full: try again later")
                        new.append(job)
                    images.append(known or job)
        except (LabelConfigError, TaskImageError) as error:
            failure = error if isinstance(error, TaskImageError) else TaskImageError("task", str(error))
            self.jobs.log_failure(request.project, task_id, failure)
            return [*images, failure]
        # A config that fills no tag in any task gets no predictions; one that fills none in this task an empty one.
        return images if plan.images or request.plan.config.depends_on_task else None

    def _jobs_of(
        self, task: Mapping[str, object], task_id: int | None, image: ImagePlan, plan_key: str, request: _Request
    ) -> list[ImageJob]:
        """The jobs of a task's images in one image tag."""
        try:
            values = image_values(image.image, task["data"])  # type: ignore[arg-type]
        except (KeyError, TypeError, AttributeError):
            raise TaskImageError("task", f"the task's data has no {image.image.value}") from None
        version, project = request.serving.version, request.project
        return [
            ImageJob(
                key=(image_key(shown.value, project), plan_key, version, image.image.name, shown.index),
                value=shown.value,
                plan=image,
                serving=request.serving,
                project=project,
                task_id=task_id,
                item_index=shown.index,
                public_url=request.public_url,
            )
            for shown in values
        ]


def _answer(images: list[Known] | None, version: str) -> tuple[Outcome, bytes]:
    """What became of a task, and its prediction as JSON, or ``[]`` if an image is not done or failed.

    A prediction is complete or absent: Label Studio would never request it again if one of several images was missing. A
    label config without a tag to fill gets no prediction rather than an empty one.
    """
    if images is None:
        return "failed", b"[]"
    if any(isinstance(image, Future) and not image.done() for image in images):
        return "later", b"[]"
    results = [(image.exception() or image.result()) if isinstance(image, Future) else image for image in images]
    errors = [result for result in results if not isinstance(result, ImageRegions)]
    if errors:
        full = all(isinstance(error, TaskImageError) and error.kind == "queue_full" for error in errors)
        return "queue_full" if full else "failed", b"[]"
    return "predicted", pipeline.prediction([one for one in results if isinstance(one, ImageRegions)], version)
