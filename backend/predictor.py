"""One queue, one model thread: from tasks to predictions, within a deadline."""

from __future__ import annotations

import itertools
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from cachetools import LRUCache

from maskbridge.adapter import ImageError, Instances, MaskRCNN
from maskbridge.adapter.settings import Settings
from maskbridge.backend.decode_budget import DecodeBudget
from maskbridge.backend.errors import PhotoError
from maskbridge.backend.fair_queue import FairQueue
from maskbridge.backend.fetching import Fetcher
from maskbridge.backend.log import summary
from maskbridge.backend.metrics import Metrics
from maskbridge.backend.photo_reading import pixels_of, read_photo
from maskbridge.backend.plan import ImagePlan, Plan, make_plan, photos_of
from maskbridge.backend.serving_model import ServingModel
from maskbridge.backend.serving_models import ServingModels
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.tasks import Answer, PhotoRegions, answer_of, photo_key

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(eq=False)
class _Job:
    """One photo for one image tag of one label config."""

    key: tuple[Any, ...]
    value: object
    task_id: int | None
    plan: ImagePlan
    place: int | None
    serving: ServingModel
    future: Future[PhotoRegions] = field(default_factory=Future)
    image: torch.Tensor | None = None
    pixels: int = 0


@dataclass(eq=False)
class _Call:
    """Something for the model thread to do before all photos that wait."""

    run: Callable[[], Any]
    future: Future[Any]


class Predictor:
    """Answers tasks with predictions. Threads share one; `start` begins its own threads.

    Photos are fetched and decoded side by side, run through the model by one thread (in batches on a GPU), and encoded
    beside that. What is not done at a request's deadline goes on, and is remembered for when it is asked for again.
    """

    def __init__(self, settings: ServerSettings, models: ServingModels, fetcher: Fetcher, metrics: Metrics) -> None:
        self.settings, self.models, self.fetcher, self.metrics = settings, models, fetcher, metrics
        self._waiting: FairQueue[_Job] = FairQueue(settings.queue_size)
        self._ready: queue.PriorityQueue[tuple[int, int, _Job | _Call]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._batch_size = settings.batch_size or (8 if models.own.model.device.type == "cuda" else 1)
        self._most_pixels = settings.max_megapixels * 1_000_000
        self._decoded = DecodeBudget(pixels=2 * self._most_pixels, photos=2 * self._batch_size + 4)
        self._pending: dict[tuple[Any, ...], _Job] = {}
        self._cache: LRUCache[tuple[Any, ...], PhotoRegions] = LRUCache(
            settings.cache_megabytes * 1_000_000, getsizeof=lambda regions: len(regions.json) + 500
        )
        self._lock = threading.Lock()
        self._encoders = ThreadPoolExecutor(2, thread_name_prefix="encode")

    def __len__(self) -> int:
        """Photos that wait or are being worked on."""
        return len(self._pending)

    def start(self) -> None:
        """Starts the threads; after a fork, never before."""
        for index in range(self.settings.fetch_threads):
            threading.Thread(target=self._fetch_all, name=f"fetch-{index}", daemon=True).start()
        threading.Thread(target=self._run_all, name="model", daemon=True).start()

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], label_config: str, project: str = "", *, seconds: float | None = None
    ) -> list[bytes]:
        """A prediction for each task, as JSON; ``[]`` where there is none (yet).

        Args:
            tasks: Label Studio's, with ``id`` and ``data``.
            label_config: the project's.
            project: what tells projects apart whose tasks name photos alike.
            seconds: to wait at most; by default the deadline of the settings.

        Raises:
            LabelConfigError: the label config cannot be read.
        """
        end = time.monotonic() + (self.settings.deadline if seconds is None else seconds)
        serving = self.models.of(project)
        plan = self.plan(label_config, serving)
        asked = self._ask(tasks, plan, project, serving)
        wait([future for photos in asked for future in photos], timeout=max(end - time.monotonic(), 0))
        answers = [answer_of(photos, serving.version, planned=bool(plan.images)) for photos in asked]
        return [self._counted(answer) for answer in answers]

    def plan(self, label_config: str, serving: ServingModel) -> Plan:
        """What a label config asks of a model.

        Raises:
            LabelConfigError: it cannot be read.
        """
        return make_plan(label_config, serving.model.class_names, self.settings.confidence)

    def call(self, run: Callable[[], T], *, seconds: float) -> T:
        """Runs something in the model thread, before all photos that wait, and returns what it returns.

        Raises:
            PhotoError: it did not end in time. What ``run`` raises comes through.
        """
        future: Future[T] = Future()
        self._ready.put((0, next(self._order), _Call(run, future)))
        try:
            return future.result(timeout=max(seconds, 0))
        except futures.TimeoutError:  # Python 3.10 has two of that name
            future.cancel()
            raise PhotoError("timeout", "the model did not answer in time") from None

    def read(self, data: bytes) -> torch.Tensor:
        """The bytes of a clicked photo as a tensor; it does not wait for those of bulk work.

        Raises:
            PhotoError: they are no photo, or too large a one.
        """
        pixels_of(data, self._most_pixels)
        return read_photo(data)

    def _ask(
        self, tasks: Sequence[Mapping[str, Any]], plan: Plan, project: str, serving: ServingModel
    ) -> list[list[Future[PhotoRegions]]]:
        """For each task the futures of its photos; new ones are put into the queue, as far as there is room."""
        new: list[_Job] = []
        asked = [
            [future for image in plan.images for future in self._of_task(task, image, plan, project, serving, new)]
            for task in tasks
        ]
        for job in new[self._waiting.put(new) :]:
            self._fail(job, PhotoError("queue_full", "the queue is full: ask again later"))
        return asked

    def _of_task(
        self,
        task: Mapping[str, Any],
        image: ImagePlan,
        plan: Plan,
        project: str,
        serving: ServingModel,
        new: list[_Job],
    ) -> list[Future[PhotoRegions]]:
        task_id = task.get("id")
        task_id = task_id if isinstance(task_id, int) else None
        try:
            photos = photos_of(image, task["data"])
        except (KeyError, TypeError, AttributeError):
            error = PhotoError("task", f"its data has no field {image.image.field!r}")
            self._log_failure(task_id, error)
            failed: Future[PhotoRegions] = Future()
            failed.set_exception(error)
            return [failed]
        found = []
        for place, value in photos:
            key = (photo_key(value, project), serving.version, plan.key, image.image.name, place)
            with self._lock:
                known = self._cache.get(key)
                job = self._pending.get(key)
                if known is None and job is None:
                    job = self._pending[key] = _Job(key, value, task_id, image, place, serving)
                    new.append(job)
            future: Future[PhotoRegions] = Future() if job is None else job.future
            if job is None and known is not None:
                future.set_result(known)
            found.append(future)
        return found

    def _fetch_all(self) -> None:
        while True:
            job = self._waiting.get()
            try:
                with self.metrics.timed("fetch"):
                    data = self.fetcher.fetch(job.value, job.task_id)
                self._read(job, data)
            except PhotoError as error:
                self._fail(job, error)
            except Exception as error:  # a thread that ends would never fetch again
                self._fail(job, PhotoError("image", f"unexpected: {summary(error)}"))
            else:
                self._ready.put((1, next(self._order), job))

    def _read(self, job: _Job, data: bytes) -> None:
        """Decodes a photo as soon as there is room for it."""
        job.pixels = pixels_of(data, self._most_pixels)
        self._decoded.take(job.pixels)
        try:
            with self.metrics.timed("read"):
                job.image = read_photo(data)
        except BaseException:
            self._decoded.give_back(job.pixels)
            raise

    def _run_all(self) -> None:
        while True:
            batch: list[_Job] = []
            while not batch:
                self._take(batch, block=True)
            while len(batch) < self._batch_size and self._take(batch, block=False):
                pass
            self._run(batch)

    def _take(self, batch: list[_Job], *, block: bool) -> bool:
        """Takes the next of what is ready: a call is run at once, a photo joins the batch."""
        try:
            _, _, item = self._ready.get(block=block)
        except queue.Empty:
            return False
        if isinstance(item, _Job):
            batch.append(item)
        elif item.future.set_running_or_notify_cancel():
            try:
                item.future.set_result(item.run())
            except Exception as error:
                item.future.set_exception(error)
        return True

    def _run(self, batch: Sequence[_Job]) -> None:
        groups: dict[tuple[Any, ...], list[_Job]] = {}
        for job in batch:
            groups.setdefault((job.serving.version, job.plan.classes, job.plan.threshold, job.plan.masks), []).append(job)
        for jobs in groups.values():
            self._run_alike(jobs)

    def _run_alike(self, jobs: Sequence[_Job]) -> None:
        """Photos with the same settings, together; one by one where that fails."""
        model = jobs[0].serving.model
        try:
            with self.metrics.timed("model"):
                photos = [job.image for job in jobs if job.image is not None]
                found = model.predict_read(photos, self._settings(model, jobs[0].plan))
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._run_alike([job])
                return
            found = [ImageError(f"the model failed: {summary(error)}")]
        for job, instances in zip(jobs, found):
            job.image = None
            self._decoded.give_back(job.pixels)
            if isinstance(instances, ImageError):
                self._fail(job, PhotoError("model", str(instances)))
            else:
                self._encoders.submit(self._encode, job, instances)

    def _settings(self, model: MaskRCNN, plan: ImagePlan) -> Settings:
        return model.settings(
            confidence_threshold=plan.threshold,
            mask_threshold=self.settings.mask_threshold,
            classes=plan.classes,
            max_detections=self.settings.max_detections,
            masks=plan.masks,
        )

    def _encode(self, job: _Job, instances: Instances) -> None:
        try:
            with self.metrics.timed("encode"):
                regions = [region for tag in job.plan.tags for region in tag.encode(instances)]
                for region in regions:
                    region |= {} if job.place is None else {"item_index": job.place}
                scores = [float(region["score"]) for region in regions]
                done = PhotoRegions(json.dumps(regions)[1:-1].encode(), scores)
        except Exception as error:
            self._fail(job, PhotoError("model", f"unexpected: {summary(error)}"))
            return
        self.metrics.regions.inc(len(regions))
        with self._lock:
            if len(done.json) < self._cache.maxsize // 4:
                self._cache[job.key] = done
            self._pending.pop(job.key, None)
        job.future.set_result(done)

    def _fail(self, job: _Job, error: PhotoError) -> None:
        with self._lock:
            self._pending.pop(job.key, None)
        self._log_failure(job.task_id, error)
        job.future.set_exception(error)

    def _log_failure(self, task_id: int | None, error: PhotoError) -> None:
        self.metrics.failures.labels(error.kind).inc()
        log.log(logging.DEBUG if error.kind == "queue_full" else logging.WARNING, "task %s: %s", task_id, error)

    def _counted(self, answer: Answer) -> bytes:
        self.metrics.tasks.labels(answer.outcome).inc()
        return answer.json
