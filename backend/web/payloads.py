"""The bodies of Label Studio's requests, checked, with project numbers as int."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class PayloadError(Exception):
    """A request's body does not follow Label Studio's protocol."""


@dataclass(frozen=True)
class SetupPayload:
    """The body of ``/setup``.

    Attributes:
        project: the project's number, or None.
        label_config: the project's label config, or None.
        model_version: the version that the extra parameters request; None for the best one.
    """

    project: int | None
    label_config: str | None
    model_version: str | None


@dataclass(frozen=True)
class PredictPayload:
    """The body of ``/predict``.

    Attributes:
        project: the project's number, or None.
        tasks: Label Studio's tasks.
        label_config: the project's label config.
        context: what an annotator drew with a smart tool, or None.
    """

    project: int | None
    tasks: list[Mapping[str, Any]]
    label_config: str
    context: Mapping[str, Any] | None


@dataclass(frozen=True)
class WebhookPayload:
    """The body of ``/webhook`` and ``/train``: the action and the project's number, or None."""

    action: str | None
    project: int | None


def read_setup(body: object) -> SetupPayload:
    """Reads the body of ``/setup``.

    Raises:
        PayloadError: the body is malformed.
    """
    body = _object(body)
    label_config = body.get("schema")
    return SetupPayload(
        project=project_number(body.get("project")),
        label_config=label_config if isinstance(label_config, str) else None,
        model_version=_requested_version(body.get("extra_params")),
    )


def read_predict(body: object) -> PredictPayload:
    """Reads the body of ``/predict``.

    Raises:
        PayloadError: the body is malformed.
    """
    body = _object(body)
    tasks, label_config, params = body.get("tasks"), body.get("label_config"), body.get("params")
    if not isinstance(tasks, list):
        raise PayloadError("tasks is missing: a list of Label Studio's tasks")
    if not isinstance(label_config, str):
        raise PayloadError("label_config is missing: the project's label config as a string")
    context = params.get("context") if isinstance(params, Mapping) else None
    drawn = isinstance(context, Mapping) and bool(context.get("result"))
    return PredictPayload(
        project=project_number(body.get("project")),
        tasks=[task if isinstance(task, Mapping) else {} for task in tasks],
        label_config=label_config,
        context=context if drawn else None,
    )


def read_webhook(body: object) -> WebhookPayload:
    """Reads the body of ``/webhook`` or ``/train``.

    Raises:
        PayloadError: the body is malformed.
    """
    body = _object(body)
    action = body.get("action")
    return WebhookPayload(action if isinstance(action, str) else None, project_number(body.get("project")))


def project_number(project: object) -> int | None:
    """A project's number, from its id, from a webhook's project object, or from the text of ``/predict``; None if missing.

    Example:
        >>> project_number(12), project_number({"id": 12}), project_number("12.1764000000"), project_number("")
        (12, 12, 12, None)
    """
    value = project.get("id") if isinstance(project, Mapping) else project
    number = str(value).partition(".")[0]  # "12.1764000000": the number and the time of creation
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise PayloadError("the request's body is not a JSON object")
    return body


def _requested_version(params: object) -> str | None:
    """The model version in ``{"model_version": "…"}``, which is JSON text or already decoded; None if missing."""
    if isinstance(params, str):
        try:
            params = json.loads(params) if params.strip() else None
        except (ValueError, RecursionError):
            raise PayloadError("the extra parameters are not JSON") from None
    version = params.get("model_version") if isinstance(params, Mapping) else None
    return version if isinstance(version, str) and version else None
