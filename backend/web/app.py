"""The server's routes: the protocol of Label Studio 1.23 for machine-learning backends."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from maskbridge.adapter.errors import SettingsError
from maskbridge.backend.errors import TrainingRefusedError
from maskbridge.backend.settings import ServerSettings
from maskbridge.backend.web.connections import SPARE_THREADS, too_large_message
from maskbridge.backend.web.loading import failure, loaded
from maskbridge.backend.web.logging_setup import summary
from maskbridge.backend.web.metrics import Metrics
from maskbridge.backend.web.payloads import PayloadError, PredictPayload, SetupPayload, WebhookPayload, project_number, read
from maskbridge.backend.web.status_page import STATUS_HEADERS, status_page
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.label_config import LabelConfigError, parse

if TYPE_CHECKING:
    from maskbridge.backend.service import Service

log = logging.getLogger(__name__)

_NO_ANSWER = b'{"result": [], "score": 0.0}'
"""The answer to a click that gives nothing."""
_SETUP_WAIT = 2.0
"""Seconds: Label Studio waits 3 seconds for ``/setup``."""
_ANNOTATED = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED")
"""Events that count for ``train_every``."""
_ENDPOINTS = ("/", "/failures", "/health", "/ready", "/setup", "/predict", "/train", "/webhook", "/versions", "/metrics")


def make_app(settings: ServerSettings, metrics: Metrics, loading: Future[Service]) -> Flask:
    """The Flask app. It answers immediately, with predictions once ``loading`` is done.

    Example:
        >>> app = make_app(ServerSettings(), Metrics(), Future())
        >>> app.test_client().get("/health").json["status"]
        'UP'
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_megabytes * 1_000_000
    free = threading.BoundedSemaphore(settings.requests_at_once)
    free_for_clicks = threading.BoundedSemaphore(SPARE_THREADS // 2)

    @app.before_request
    def check() -> Response | None:
        g.started_at = time.perf_counter()
        if settings.basic_auth_user is None or request.path == "/health" or _is_allowed(settings):
            return None
        answer = jsonify(error="the backend requires the user and password of its basic auth")
        answer.status_code, answer.headers["WWW-Authenticate"] = 401, 'Basic realm="maskbridge"'
        return answer

    @app.after_request
    def count(response: Response) -> Response:
        endpoint = request.path if request.path in _ENDPOINTS else "other"
        metrics.requests.labels(endpoint, str(response.status_code)).inc()
        if endpoint == "/predict" and "started_at" in g:
            metrics.seconds.labels("request").observe(time.perf_counter() - g.started_at)
        return response

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="UP")

    @app.get("/")
    def status() -> Response:
        response = Response(status_page(loading, failure(loading)), content_type="text/html; charset=utf-8")
        response.headers.update(STATUS_HEADERS)
        return response

    @app.get("/failures")
    def failures() -> tuple[Response, int]:
        service = loaded(loading)
        if service is None:
            return _not_ready(loading)
        failed, project = service.predictor.jobs.failures, request.args.get("project")
        chosen = failed.all() if project is None else failed.of(project_number(project))
        return jsonify(failures=[asdict(failure) for failure in chosen]), 200

    @app.get("/ready")
    def ready() -> tuple[Response, int]:
        service = loaded(loading)
        return (
            (jsonify(status="READY", model_version=service.registry.own.version), 200) if service else _not_ready(loading)
        )

    @app.post("/setup")
    def setup() -> tuple[Response, int]:
        payload = read(SetupPayload, _body())
        service = loaded(loading, _SETUP_WAIT)
        if service is None:
            return _not_ready(loading)
        service.registry.request(payload.project, payload.model_version)
        service.predictor.projects.called(payload.project, payload.hostname)
        version = service.registry.version_of(payload.project)
        if payload.label_config is not None and version == service.registry.own.version:
            service.predictor.plan(payload.label_config, service.registry.own)  # logs unmapped labels
        return jsonify(model_version=version), 200

    @app.route("/versions", methods=["GET", "POST"])
    def versions() -> tuple[Response, int]:
        service = loaded(loading)
        if service is None:
            return _not_ready(loading)
        model = service.registry.own.model
        loss = {} if model.quantized is None else {"loss": asdict(model.quantized.loss)}
        names = {"engine": model.engine.name, "precision": model.engine.precision}
        return jsonify(versions=service.registry.all_versions(), **names, **loss), 200

    @app.post("/predict")
    def predict() -> Response:
        payload = read(PredictPayload, _body())
        tasks, deadline = payload.tasks, g.started_at + settings.deadline
        if payload.context is not None and tasks:
            return _results(clicks(tasks, payload, deadline))
        if not free.acquire(blocking=False):
            metrics.tasks.labels("queue_full").inc(len(tasks))
            log.warning("%d tasks got an empty answer: %d requests are in progress", len(tasks), settings.requests_at_once)
            parse(payload.label_config)
            return _results([b"[]"] * len(tasks))
        try:
            service = loaded(loading, settings.deadline)
            if service is None:
                metrics.tasks.labels("later").inc(len(tasks))
                return _results([b"[]"] * len(tasks))
            remaining = max(deadline - time.perf_counter(), 0)
            return _results(service.predictor.predict(tasks, payload.label_config, payload.project, seconds=remaining))
        finally:
            free.release()

    def clicks(tasks: Sequence[Mapping[str, Any]], payload: PredictPayload, deadline: float) -> list[bytes]:
        """Label Studio sends one task; of more, those that are not answered by the deadline have no result."""
        if not free_for_clicks.acquire(blocking=False):
            log.warning("click in task %s: no answer: %d clicks are in progress", tasks[0].get("id"), SPARE_THREADS // 2)
            return [_NO_ANSWER] * len(tasks)
        try:
            service = loaded(loading, settings.deadline)
            in_time = (time.perf_counter() < deadline for _ in tasks)
            return [_click(service, metrics, task, payload) if now else _NO_ANSWER for task, now in zip(tasks, in_time)]
        finally:
            free_for_clicks.release()

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        payload = read(WebhookPayload, _body())
        if payload.action == "START_TRAINING":
            return start_training(payload.project)
        service = loaded(loading)
        counts = payload.action in _ANNOTATED and payload.project is not None and bool(settings.train_every)
        if counts and service is not None and payload.project is not None:
            public_url = service.predictor.projects.hostname_of(payload.project)
            service.trainer.annotated(payload.project, payload.annotations, public_url)
        return jsonify(status="counted" if counts else "ignored"), 200

    @app.post("/train")
    def train() -> tuple[Response, int]:
        return start_training(read(WebhookPayload, _body()).project)  # Label Studio calls it if it has no webhook

    def start_training(project: int | None) -> tuple[Response, int]:
        service = loaded(loading, _SETUP_WAIT)
        if service is None:
            return _not_ready(loading)
        service.trainer.start(project, service.predictor.projects.hostname_of(project))
        return jsonify(status="started"), 201

    @app.errorhandler(TrainingRefusedError)
    def refused(error: Exception) -> tuple[Response, int]:
        log.warning("training refused: %s", error)
        return jsonify(error=str(error)), 409

    @app.get("/metrics")
    def metrics_text() -> Response:
        return Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.errorhandler(LabelConfigError)
    @app.errorhandler(SettingsError)
    @app.errorhandler(PayloadError)
    def bad_request(error: Exception) -> tuple[Response, int]:
        log.warning("%s: refused: %s", request.path, error)
        return jsonify(error=str(error)), 400

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> tuple[Response, int]:
        return jsonify(error=too_large_message(settings.max_request_megabytes)), 413

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=f"{error.code} {error.name}"), error.code or 500

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        log.error("%s: unexpected: %s", request.path, summary(error))
        return jsonify(error="unexpected error; see the server's log"), 500

    return app


def _body() -> object:
    try:
        return request.get_json(force=True, silent=True)
    except RecursionError:
        return None


def _click(service: Service | None, metrics: Metrics, task: Mapping[str, Any], payload: PredictPayload) -> bytes:
    try:
        if service is None:
            raise TaskImageError("model", "the model is not loaded yet")
        return service.interactive.answer(task, payload.context or {}, payload.label_config, payload.project)
    except (TaskImageError, LabelConfigError) as error:
        metrics.failures.labels(error.kind if isinstance(error, TaskImageError) else "task").inc()
        log.warning("click in task %s: no answer: %s", task.get("id"), error)
        return _NO_ANSWER


def _results(results: list[bytes]) -> Response:
    return Response(b'{"results": [' + b", ".join(results) + b"]}", content_type="application/json")


def _not_ready(loading: Future[Service]) -> tuple[Response, int]:
    reason = failure(loading)
    return jsonify(status="LOADING" if reason is None else "FAILED", error=reason or "the model is being loaded"), 503


def _is_allowed(settings: ServerSettings) -> bool:
    """Whether the request has the right user and password for basic auth; both are compared in constant time."""
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else ""
    user_matches = hmac.compare_digest((given.username or "").encode(), (settings.basic_auth_user or "").encode())
    return hmac.compare_digest((given.password or "").encode(), password.encode()) and user_matches
