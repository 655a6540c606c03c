"""The server's metrics, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Stage = Literal["fetch", "read", "model", "encode", "request", "click"]
Outcome = Literal["predicted", "failed", "later", "queue_full"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 100)


class Metrics:
    """The metrics of one server; ``/metrics`` returns `text`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("maskbridge_requests", "Requests answered.", ["endpoint", "status"], registry=self.registry)
        self.tasks = Counter("maskbridge_tasks", "Tasks, by outcome.", ["outcome"], registry=self.registry)
        self.regions = Counter("maskbridge_regions", "Regions predicted.", registry=self.registry)
        self.failures = Counter(
            "maskbridge_failures", "Images without a prediction, by reason.", ["reason"], registry=self.registry
        )
        self.seconds = Histogram(
            "maskbridge_stage_seconds", "Seconds, by stage.", ["stage"], buckets=_BUCKETS, registry=self.registry
        )
        self.training_run = Gauge(
            "maskbridge_training_run", "1 while a training run is in progress.", registry=self.registry
        )
        self.training_progress = Gauge(
            "maskbridge_training_progress", "Progress of the training run, 0 to 1.", registry=self.registry
        )
        self.training_score = Gauge(
            "maskbridge_training_mask_map", "Mask mAP of the last training run.", ["project"], registry=self.registry
        )
        self.training_runs = Counter(
            "maskbridge_training_runs", "Training runs, by outcome.", ["outcome"], registry=self.registry
        )
        self._queue = Gauge("maskbridge_queue_length", "Images that wait or are being processed.", registry=self.registry)
        self._ready = Gauge("maskbridge_ready", "1 when the model is loaded.", registry=self.registry)
        self._model = Gauge("maskbridge_model_info", "The server's own model.", ["model_version"], registry=self.registry)

    def serving(self, model_version: str, queue_length: Callable[[], int]) -> None:
        """Sets the model version and the function that returns the length of the queue; the server is then ready."""
        self._ready.set(1)
        self._queue.set_function(queue_length)
        self._model.clear()
        self._model.labels(model_version).set(1)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Records the time that the block takes as time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds.labels(stage).observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
