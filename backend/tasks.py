"""What a task's photos are known by, and the answer that they make together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

from maskbridge.backend.errors import PhotoError
from maskbridge.backend.metrics import Outcome


@dataclass(frozen=True)
class PhotoRegions:
    """The regions of one photo: as JSON, separated by commas, without the brackets; and their scores."""

    json: bytes
    scores: Sequence[float]


@dataclass(frozen=True)
class Answer:
    """What a task gets, as JSON, and why."""

    json: bytes
    outcome: Outcome


def photo_key(value: object, project: str) -> str:
    """What a photo is known by: its address; with the project where only that says which photo is meant."""
    text = value if isinstance(value, str) else repr(value)
    try:
        is_absolute = urlsplit(text).scheme in ("http", "https")
    except ValueError:
        is_absolute = False
    where = "" if is_absolute or text[:5].lower() == "data:" else project
    return hashlib.sha256(f"{where}\n{text}".encode(errors="surrogatepass")).hexdigest()


def answer_of(futures: Sequence[Future[PhotoRegions]], version: str, *, planned: bool) -> Answer:
    """The answer of one task, from those of its photos that are done.

    A prediction is complete or not there: with one photo of several missing it would never be asked for again.

    Args:
        futures: of the task's photos.
        version: the model's.
        planned: whether the label config asks for anything. If it does not, no prediction is better than an empty one.

    Example:
        >>> answer_of([], "model-1", planned=True).json
        b'{"model_version": "model-1", "result": [], "score": 0.0}'
    """
    if not planned:
        return Answer(b"[]", "failed")
    if not all(future.done() for future in futures):
        return Answer(b"[]", "later")
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        full = all(isinstance(error, PhotoError) and error.kind == "queue_full" for error in errors)
        return Answer(b"[]", "queue_full" if full else "failed")
    photos = [future.result() for future in futures]
    scores = [score for photo in photos for score in photo.scores]
    score = sum(scores) / len(scores) if scores else 0.0
    head = f'{{"model_version": {json.dumps(version)}, "result": ['.encode()
    body = b", ".join(photo.json for photo in photos if photo.json)
    return Answer(head + body + f'], "score": {score}}}'.encode(), "predicted")


def number_of(project: str) -> str:
    """A project's number; Label Studio says it with the time of its making: ``"12.1764000000"``.

    Example:
        >>> number_of("12.1764000000")
        '12'
    """
    return project.partition(".")[0]
