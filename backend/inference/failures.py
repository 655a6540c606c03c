"""The last failures of each project, for the status page and ``/failures``."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from cachetools import LRUCache

from maskbridge.labelstudio.errors import Kind

MAX_FAILURES = 100
"""Failures that are kept for each project."""
MAX_PROJECTS = 1000


@dataclass(frozen=True)
class Failure:
    """An image without a prediction.

    Attributes:
        project: the project's number; None if the request had none.
        task: the task's id, or None.
        kind: the reason in one word.
        reason: the reason; an address in it has no query.
        time: in seconds since 1970.
    """

    project: int | None
    task: int | None
    kind: Kind
    reason: str
    time: float


class FailureLog:
    """The last failures of each project. Threads may share one.

    Example:
        >>> log = FailureLog()
        >>> log.add(1, 7, "not_found", "http://example.org/a.jpg: not found (404)")
        >>> [(failure.task, failure.kind) for failure in log.of(1)]
        [(7, 'not_found')]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: LRUCache[int | None, deque[Failure]] = LRUCache(MAX_PROJECTS)

    def add(self, project: int | None, task: int | None, kind: Kind, reason: str) -> None:
        """Adds a failure; the oldest of the project is dropped beyond `MAX_FAILURES`."""
        failure = Failure(project, task, kind, reason[:500], time.time())
        with self._lock:
            failures = self._failures.get(project)
            if failures is None:
                failures = self._failures[project] = deque(maxlen=MAX_FAILURES)
            failures.append(failure)

    def of(self, project: int | None) -> list[Failure]:
        """The failures of a project, newest first."""
        with self._lock:
            return list(self._failures.get(project, ()))[::-1]

    def all(self) -> list[Failure]:
        """The failures of all projects, newest first."""
        with self._lock:
            failures = [failure for of_project in self._failures.values() for failure in of_project]
        return sorted(failures, key=lambda failure: failure.time, reverse=True)
