"""The bodies of Label Studio's requests, validated, with project numbers as int."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

P = TypeVar("P", bound=BaseModel)


class PayloadError(Exception):
    """A request's body does not follow Label Studio's protocol."""


def project_number(project: object) -> int | None:
    """A project's number, from its id, from a webhook's project object, or from the text of ``/predict``; None if missing.

    Example:
        >>> project_number(12), project_number({"id": 12}), project_number("12.1764000000"), project_number("")
        (12, 12, 12, None)
    """
    value = project.get("id") if isinstance(project, Mapping) else project
    number = str(value).partition(".")[0]  # "12.1764000000": the number and the time of creation
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None


def _requested_version(params: object) -> str | None:
    """The model version in ``{"model_version": "…"}``, which is JSON text or already decoded; None if missing."""
    if isinstance(params, str):
        try:
            params = json.loads(params) if params.strip() else None
        except (ValueError, RecursionError):
            raise PayloadError("the extra parameters are not JSON") from None
    version = params.get("model_version") if isinstance(params, Mapping) else None
    return version if isinstance(version, str) and version else None


def _drawing(params: object) -> Mapping[str, Any] | None:
    """The context of an annotator's smart tool; None if nothing was drawn."""
    context = params.get("context") if isinstance(params, Mapping) else None
    return context if isinstance(context, Mapping) and context.get("result") else None


def _objects(tasks: list[Any]) -> list[Mapping[str, Any]]:
    return [task if isinstance(task, dict) else {} for task in tasks]


def _count(annotations: object) -> int:
    """The number of annotations in an event: several are a list."""
    return len(annotations) if isinstance(annotations, list) else 1


Project = Annotated[int | None, BeforeValidator(project_number)]
OptionalText = Annotated[str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)]


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SetupPayload(_Payload):
    """The body of ``/setup``.

    Attributes:
        project: the project's number, or None.
        label_config: the project's label config, or None.
        model_version: the version that the extra parameters request; None for the best one.
        hostname: the address that Label Studio has for itself, or None.
    """

    project: Project = None
    label_config: OptionalText = Field(None, alias="schema")
    model_version: Annotated[str | None, BeforeValidator(_requested_version)] = Field(None, alias="extra_params")
    hostname: OptionalText = None


class PredictPayload(_Payload):
    """The body of ``/predict``.

    Attributes:
        project: the project's number, or None.
        tasks: Label Studio's tasks; what is not an object is an empty task.
        label_config: the project's label config.
        context: what an annotator drew with a smart tool, or None.
    """

    project: Project = None
    tasks: Annotated[list[Any], Strict(), AfterValidator(_objects)]
    label_config: str
    context: Annotated[Any, BeforeValidator(_drawing)] = Field(None, alias="params")


class WebhookPayload(_Payload):
    """The body of ``/webhook`` and ``/train``.

    Attributes:
        action: the event, such as ``ANNOTATION_CREATED``, or None.
        project: the project's number, or None.
        annotations: the number of annotations that the event is about.
    """

    action: OptionalText = None
    project: Project = None
    annotations: Annotated[int, BeforeValidator(_count)] = Field(1, alias="annotation")


def read(payload: type[P], body: object) -> P:
    """Reads a request's body.

    Raises:
        PayloadError: the body is malformed.

    Example:
        >>> read(WebhookPayload, {"action": "ANNOTATION_CREATED", "project": {"id": 3}}).project
        3
    """
    if not isinstance(body, dict):
        raise PayloadError("the request's body is not a JSON object")
    try:
        return payload.model_validate(body)
    except ValidationError as error:
        name = str(error.errors(include_input=False, include_url=False)[0]["loc"][0])
        raise PayloadError(f"{name} is missing: {_MISSING[name]}") from None


_MISSING = {
    "tasks": "a list of Label Studio's tasks",
    "label_config": "the project's label config as a string",
}
