"""The projects that have called, and the address that their Label Studio has for itself."""

from __future__ import annotations

import logging
import threading

from cachetools import LRUCache

from maskbridge.labelstudio.client import base_url, loggable

log = logging.getLogger(__name__)

MAX_PROJECTS = 10_000


class Projects:
    """The projects that have called, up to `MAX_PROJECTS`. Threads may share one.

    Label Studio's own address, from ``/setup``, only tells which addresses in tasks are Label Studio's; nothing is sent
    to it.

    Example:
        >>> projects = Projects()
        >>> projects.called(8)
        >>> projects.called(7, "https://labels.example.org/")
        >>> projects.hostname_of(7), projects.hostname_of(8), projects.numbers()
        ('https://labels.example.org', None, [7, 8])
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hostnames: LRUCache[int, str | None] = LRUCache(MAX_PROJECTS)

    def called(self, project: int | None, hostname: str | None = None) -> None:
        """Keeps that a project called, and the address of its Label Studio if there is one in the call."""
        if project is None:
            return
        url = base_url(hostname[:500]) if hostname else None
        with self._lock:
            known = self._hostnames.pop(project, None)
            self._hostnames[project] = known if url is None else str(url)
        if url is not None and known != str(url):
            log.info("project %s: Label Studio's own address is %s", project, loggable(str(url)))

    def hostname_of(self, project: int | None) -> str | None:
        """The address that a project's Label Studio has for itself, or None."""
        with self._lock:
            return None if project is None else self._hostnames.get(project)

    def numbers(self) -> list[int]:
        """The numbers of the projects; the last that called is first."""
        with self._lock:
            return list(self._hostnames)[::-1]
