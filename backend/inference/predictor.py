"""Predictions for tasks: a queue, one model thread, a cache and deadlines around the pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import torch
from cachetools import LRUCache

from maskbridge.adapter import ImageError, Instances
from maskbridge.adapter.confidence import confidence_of
from maskbridge.backend.inference.decode_budget import DecodeBudget
from maskbridge.backend.inference.fair_queue import FairQueue
from maskbridge.backend.inference.model_thread import ModelThread
from maskbridge.backend.inference.registry import ModelRegistry, ServingModel
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.web.logging_setup import summary
from maskbridge.backend.web.metrics import Metrics
from maskbridge.labelstudio import pipeline
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.images.decoding import decode, pixel_count
from maskbridge.labelstudio.images.fetching import Fetcher
from maskbridge.labelstudio.pipeline import ImageRegions
from maskbridge.labelstudio.plan import ImagePlan, Plan, make_plan
from maskbridge.labelstudio.tasks import image_key, image_values

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """One image for one image tag of one label config."""

    key: tuple[Any, ...]
    value: object
    plan: ImagePlan
    serving: ServingModel
    task_id: int | None
    item_index: int | None
    future: Future[ImageRegions] = field(default_factory=Future)
    image: torch.Tensor | None = None
    pixels: int = 0


@dataclass(frozen=True)
class _Request:
    """What the images of one request share."""

    plan: Plan
    serving: ServingModel
    project: int | None


class Predictor:
    """Answers tasks with predictions. Threads may share one; `start` starts its own threads.

    Images are fetched and decoded in parallel, run through the model by one thread (in batches on a GPU), and encoded in
    further threads. Images that are not done at a request's deadline are still completed, and their results are cached for
    the next request.
    """

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, fetcher: Fetcher, metrics: Metrics) -> None:
        self.settings, self.registry, self.fetcher, self.metrics = settings, registry, fetcher, metrics
        self._waiting: FairQueue[_Job] = FairQueue(settings.queue_size)
        batch_size = settings.batch_size or (8 if registry.own.model.device.type == "cuda" else 1)
        self.model_thread = ModelThread(self._run, batch_size=batch_size)
        self._max_pixels = settings.max_megapixels * 1_000_000
        self._decoded = DecodeBudget(max_pixels=2 * self._max_pixels, max_images=2 * batch_size + 4)
        self._pending: dict[tuple[Any, ...], _Job] = {}
        self._cache: LRUCache[tuple[Any, ...], ImageRegions] = LRUCache(
            settings.cache_megabytes * 1_000_000, getsizeof=lambda regions: len(regions.json) + 500
        )
        self._lock = threading.Lock()
        self._encoders = ThreadPoolExecutor(2, thread_name_prefix="encode")

    def __len__(self) -> int:
        """The number of images that wait or are being processed."""
        return len(self._pending)

    def start(self) -> None:
        """Starts the threads; if the process forks, call it after the fork."""
        for index in range(self.settings.fetch_threads):
            threading.Thread(target=self._fetch_all, name=f"fetch-{index}", daemon=True).start()
        self.model_thread.start()

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
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
        serving = self.registry.get(project)
        request = _Request(self.plan(label_config, serving), serving, project)
        submitted = self._submit(tasks, request)
        wait([future for images in submitted for future in images], timeout=max(deadline - time.monotonic(), 0))
        return [self._answer(images, request) for images in submitted]

    def plan(self, label_config: str, serving: ServingModel) -> Plan:
        """The plan of a label config for a model.

        Raises:
            LabelConfigError: the label config cannot be read.
        """
        return make_plan(label_config, serving.model.class_names, confidence_of(self.settings.confidence))

    def decode_now(self, data: bytes) -> torch.Tensor:
        """Decodes the image of a click (uint8 [3, H, W]) without waiting for the images of tasks.

        Raises:
            TaskImageError: the bytes are not an image, or the image is too large.
        """
        pixel_count(data, self._max_pixels)
        return decode(data)

    def _submit(self, tasks: Sequence[Mapping[str, Any]], request: _Request) -> list[list[Future[ImageRegions]]]:
        """For each task the futures of its images; new jobs are added to the queue as long as there is room."""
        new: list[_Job] = []
        submitted = [
            [future for image in request.plan.images for future in self._futures_of(task, image, request, new)]
            for task in tasks
        ]
        for job in new[self._waiting.put(new) :]:
            self._fail(job, TaskImageError("queue_full", "the queue is full: try again later"))
        return submitted

    def _futures_of(
        self, task: Mapping[str, Any], image: ImagePlan, request: _Request, new: list[_Job]
    ) -> list[Future[ImageRegions]]:
        """The futures of a task's images in one image tag; jobs that are neither cached nor pending go to ``new``."""
        task_id = task.get("id")
        task_id = task_id if isinstance(task_id, int) else None
        try:
            values = image_values(image.image, task["data"])
        except (KeyError, TypeError, AttributeError):
            error = TaskImageError("task", f"the task's data has no field {image.image.field!r}")
            self._log_failure(task_id, error)
            failed: Future[ImageRegions] = Future()
            failed.set_exception(error)
            return [failed]
        image_futures = []
        for shown in values:
            image_hash = image_key(shown.value, request.project)
            key = (image_hash, request.serving.version, request.plan.key, image.image.name, shown.index)
            with self._lock:
                cached = self._cache.get(key)
                job = self._pending.get(key)
                if cached is None and job is None:
                    job = self._pending[key] = _Job(
                        key, shown.value, image, request.serving, task_id=task_id, item_index=shown.index
                    )
                    new.append(job)
            future: Future[ImageRegions] = Future() if job is None else job.future
            if job is None and cached is not None:
                future.set_result(cached)
            image_futures.append(future)
        return image_futures

    def _answer(self, images: Sequence[Future[ImageRegions]], request: _Request) -> bytes:
        """The prediction of one task as JSON, or ``[]`` if an image is not done or failed.

        A prediction is complete or absent: Label Studio would never request it again if one of several images was missing.
        A label config without a tag to fill gets no prediction rather than an empty one.
        """
        if not all(future.done() for future in images):
            outcome = "later"
        elif errors := [error for future in images if (error := future.exception()) is not None]:
            full = all(isinstance(error, TaskImageError) and error.kind == "queue_full" for error in errors)
            outcome = "queue_full" if full else "failed"
        else:
            outcome = "predicted" if request.plan.images else "failed"
        self.metrics.tasks.labels(outcome).inc()
        if outcome != "predicted":
            return b"[]"
        return pipeline.prediction([future.result() for future in images], request.serving.version)

    def _fetch_all(self) -> None:
        while True:
            job = self._waiting.get()
            try:
                with self.metrics.timed("fetch"):
                    data = self.fetcher.fetch(job.value, job.task_id)
                self._decode(job, data)
            except TaskImageError as error:
                self._fail(job, error)
            except Exception as error:  # the thread must not end
                self._fail(job, TaskImageError("image", f"unexpected: {summary(error)}"))
            else:
                self.model_thread.put(job)

    def _decode(self, job: _Job, data: bytes) -> None:
        """Decodes an image as soon as the budget allows it."""
        job.pixels = pixel_count(data, self._max_pixels)
        self._decoded.acquire(job.pixels)
        try:
            with self.metrics.timed("read"):
                job.image = decode(data)
        except BaseException:
            self._decoded.release(job.pixels)
            raise

    def _run(self, batch: Sequence[_Job]) -> None:
        groups: dict[tuple[Any, ...], list[_Job]] = {}
        for job in batch:
            groups.setdefault((job.serving.version, job.plan.classes, job.plan.threshold, job.plan.masks), []).append(job)
        for jobs in groups.values():
            self._run_group(jobs)

    def _run_group(self, jobs: Sequence[_Job]) -> None:
        """Runs images with the same settings together; one by one if that fails."""
        images = [job.image for job in jobs if job.image is not None]
        results: Sequence[Instances | ImageError]
        try:
            with self.metrics.timed("model"):
                results = pipeline.predict(
                    jobs[0].serving.model,
                    images,
                    jobs[0].plan,
                    mask_threshold=self.settings.mask_threshold,
                    max_detections=self.settings.max_detections,
                )
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._run_group([job])
                return
            results = [ImageError(f"the model failed: {summary(error)}")]
        for job, instances in zip(jobs, results):
            job.image = None
            self._decoded.release(job.pixels)
            if isinstance(instances, ImageError):
                self._fail(job, TaskImageError("model", str(instances)))
            else:
                self._encoders.submit(self._encode, job, instances)

    def _encode(self, job: _Job, instances: Instances) -> None:
        try:
            with self.metrics.timed("encode"):
                regions = pipeline.encode(instances, job.plan, job.item_index)
        except Exception as error:
            self._fail(job, TaskImageError("model", f"unexpected: {summary(error)}"))
            return
        self.metrics.regions.inc(len(regions.scores))
        with self._lock:
            if len(regions.json) < self._cache.maxsize // 4:
                self._cache[job.key] = regions
            self._pending.pop(job.key, None)
        job.future.set_result(regions)

    def _fail(self, job: _Job, error: TaskImageError) -> None:
        with self._lock:
            self._pending.pop(job.key, None)
        self._log_failure(job.task_id, error)
        job.future.set_exception(error)

    def _log_failure(self, task_id: int | None, error: TaskImageError) -> None:
        self.metrics.failures.labels(error.kind).inc()
        log.log(logging.DEBUG if error.kind == "queue_full" else logging.WARNING, "task %s: %s", task_id, error)
