"""Images on their way to regions: a queue, fetching and decoding in threads, one model thread, encoding, and a cache."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from cachetools import LRUCache

from maskbridge.adapter import ImageError, Instances
from maskbridge.adapter.engines.devices import default_batch_size
from maskbridge.backend.inference.decode_budget import DecodeBudget
from maskbridge.backend.inference.failures import FailureLog
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
from maskbridge.labelstudio.plan import ImagePlan

log = logging.getLogger(__name__)


@dataclass(eq=False)
class ImageJob:
    """One image for one image tag of one label config; ``key`` is the same for equal results."""

    key: tuple[Any, ...]
    value: object
    plan: ImagePlan
    serving: ServingModel
    project: int | None
    task_id: int | None
    item_index: int | None
    public_url: str | None
    future: Future[ImageRegions] = field(default_factory=Future)
    image: torch.Tensor | None = None
    pixels: int = 0


class ImageJobs:
    """Completes jobs, each with its own future. Threads may share one; `start` starts its own threads.

    Images are fetched and decoded in parallel, run through the model by one thread (in batches on a GPU), and encoded in
    further threads. Results are cached; jobs with equal keys share one future.
    """

    def __init__(self, settings: ServerSettings, registry: ModelRegistry, fetcher: Fetcher, metrics: Metrics) -> None:
        self.settings, self.fetcher, self.metrics = settings, fetcher, metrics
        self.failures = FailureLog()
        self.max_pixels = settings.max_megapixels * 1_000_000
        model = registry.own.model
        batch_size = settings.batch_size or default_batch_size(model.device, model.streams)
        self.model_thread = ModelThread(self._run, batch_size=batch_size)
        self._waiting: FairQueue[ImageJob] = FairQueue(settings.queue_size)
        self._decoded = DecodeBudget(max_pixels=2 * self.max_pixels, max_images=2 * batch_size + 4)
        self._pending: dict[tuple[Any, ...], ImageJob] = {}
        self._cache: LRUCache[tuple[Any, ...], ImageRegions] = LRUCache(
            settings.cache_megabytes * 1_000_000, getsizeof=lambda regions: len(regions.json) + 500
        )
        self._lock = threading.Lock()
        self._encoders = ThreadPoolExecutor(2, thread_name_prefix="encode")

    def __len__(self) -> int:
        """The number of images that wait or are being processed."""
        return len(self._pending)

    def start(self) -> None:
        """Starts the threads."""
        for index in range(self.settings.fetch_threads):
            threading.Thread(target=self._fetch_all, name=f"fetch-{index}", daemon=True).start()
        self.model_thread.start()

    def find(self, key: tuple[Any, ...]) -> ImageRegions | Future[ImageRegions] | None:
        """The cached result of a key, else the future of the job that has it, else None."""
        with self._lock:
            cached = self._cache.get(key)
            job = self._pending.get(key)
        return cached if cached is not None else None if job is None else job.future

    def submit(self, jobs: Sequence[ImageJob]) -> dict[tuple[Any, ...], Future[ImageRegions]]:
        """Adds the jobs of one request to the queue, as long as there is room; those beyond fail with ``queue_full``.

        Returns:
            The future for the key of each job; that of an earlier job with the same key if there is one.
        """
        with self._lock:
            chosen = [self._pending.setdefault(job.key, job) for job in jobs]
        new = [job for job, pending in zip(jobs, chosen) if job is pending]
        for job in new[self._waiting.put(new) :]:
            self._fail(job, TaskImageError("queue_full", "the queue is full: try again later"))
        return {job.key: job.future for job in chosen}

    def log_failure(self, project: int | None, task_id: int | None, error: TaskImageError) -> None:
        """Counts, logs and keeps a failure."""
        self.metrics.failures.labels(error.kind).inc()
        if error.kind == "queue_full":
            log.debug("task %s: %s", task_id, error)
            return
        log.warning("task %s: %s", task_id, error)
        self.failures.add(project, task_id, error.kind, str(error))

    def _fetch_all(self) -> None:
        while True:
            job = self._waiting.get()
            try:
                with self.metrics.timed("fetch"):
                    data = self.fetcher.fetch(job.value, job.task_id, public_url=job.public_url)
                self._decode(job, data)
            except TaskImageError as error:
                self._fail(job, error)
            except Exception as error:  # the thread must not end
                self._fail(job, TaskImageError("image", f"unexpected: {summary(error)}"))
            else:
                self.model_thread.put(job)

    def _decode(self, job: ImageJob, data: bytes) -> None:
        """Decodes an image as soon as the budget allows it."""
        job.pixels = pixel_count(data, self.max_pixels)
        self._decoded.acquire(job.pixels)
        try:
            with self.metrics.timed("read"):
                job.image = decode(data)
        except BaseException:
            self._decoded.release(job.pixels)
            raise

    def _run(self, batch: Sequence[ImageJob]) -> None:
        groups: dict[tuple[Any, ...], list[ImageJob]] = {}
        for job in batch:
            groups.setdefault((job.serving.version, job.plan.classes, job.plan.threshold, job.plan.masks), []).append(job)
        for jobs in groups.values():
            self._run_group(jobs)

    def _run_group(self, jobs: Sequence[ImageJob]) -> None:
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

    def _encode(self, job: ImageJob, instances: Instances) -> None:
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

    def _fail(self, job: ImageJob, error: TaskImageError) -> None:
        with self._lock:
            self._pending.pop(job.key, None)
        self.log_failure(job.project, job.task_id, error)
        job.future.set_exception(error)
