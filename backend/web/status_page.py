"""The page at ``/`` for people: what the server is doing, which model answers whom, what failed, how training goes."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from flask import render_template

from maskbridge.backend.inference.failures import MAX_FAILURES
from maskbridge.backend.web.loading import loaded

if TYPE_CHECKING:
    from maskbridge.backend.service import Service
    from maskbridge.backend.training.trainer import TrainingRun

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
body { color: #222; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
h1 span { font-size: 0.9rem; padding: 0.15rem 0.6rem; border-radius: 1rem; vertical-align: middle; }
h1 span { color: #fff; background: #777; }
h1 span.ready { background: #2a7d3a; } h1 span.failed { background: #b3261e; }
p.failed { color: #b3261e; } p.time, p code { color: #666; font-size: 0.9rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem; } dt { color: #666; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; color: #666; white-space: nowrap; }
th, td { padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere; }
progress { width: 100%; }
svg { width: 100%; max-width: 40rem; border: 1px solid #ddd; font: 11px system-ui, sans-serif; }
polyline { fill: none; stroke: #6d4aff; stroke-width: 1.5; } svg text { fill: #666; } svg text.end { text-anchor: end; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818; } th, td, svg { border-color: #444; } }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

STATUS_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The headers of the page: it runs no script and loads nothing."""

_SHOWN = 50
"""Rows of a table."""
_POINTS = 300
"""Points of a curve."""


def status_page(loading: Future[Service], reason: str | None) -> str:
    """The page as HTML, in which everything is escaped; called while a request is answered.

    Args:
        loading: the server's parts, when they are loaded.
        reason: why loading failed, or None.
    """
    service = loaded(loading)
    state = "failed" if reason else "loading" if service is None else "ready"
    parts = {} if service is None else _parts(service)
    return render_template(
        "status.html", style=_STYLE, state=state, reason=reason, time=_time(time.time()), max_failures=MAX_FAILURES, **parts
    )


def _parts(service: Service) -> dict[str, Any]:
    registry, predictor = service.registry, service.predictor
    model = registry.own.model
    names = [name for name in model.class_names[1:] if name != "N/A"]
    more = f", … ({len(names)} in total)" if len(names) > 12 else ""
    failures, used = predictor.jobs.failures, registry.used()
    projects, versions, last = predictor.projects.numbers(), registry.trained(), failures.all()
    return {
        "more_projects": max(len(projects) - _SHOWN, 0),
        "more_versions": max(len(versions) - _SHOWN, 0),
        "more_failures": max(len(last) - _SHOWN, 0),
        "own": {
            "version": registry.own.version,
            "device": str(model.device),
            "engine": model.engine.name,
            "precision": model.engine.precision,
            "loss": None if model.quantized is None else str(model.quantized.loss),
            "classes": ", ".join(names[:12]) + more,
        },
        "queue": len(predictor),
        "queue_size": predictor.settings.queue_size,
        "training": None if service.trainer.run is None else _training(service.trainer.run),
        "projects": [
            {
                "number": project,
                "version": registry.version_of(project),
                "hostname": predictor.projects.hostname_of(project) or "",
                "failures": len(failures.of(project)),
            }
            for project in projects[:_SHOWN]
        ],
        "versions": [
            {
                "project": version.project,
                "name": version.name,
                "score": f"{version.score:.4f}",
                "time": _time(version.file.stat().st_mtime) if version.file.exists() else "",
                "used": version.file in used,
            }
            for version in versions[:_SHOWN]
        ],
        "failures": [
            {
                "project": "" if failure.project is None else failure.project,
                "task": "" if failure.task is None else failure.task,
                "time": _time(failure.time),
                "reason": failure.reason,
            }
            for failure in last[:_SHOWN]
        ],
    }


def _training(run: TrainingRun) -> dict[str, Any]:
    losses = list(run.losses)
    return {
        "project": run.project,
        "started": _time(run.started),
        "message": run.message,
        "progress": f"{run.progress:.4f}",
        "in_progress": run.in_progress,
        "curve": curve(losses, width=600, height=120) if len(losses) > 1 else "",
        "highest": f"{max(losses, default=0):.3f}",
        "lowest": f"{min(losses, default=0):.3f}",
        "last": f"{losses[-1] if losses else 0:.3f}",
        "steps": len(losses),
    }


def curve(values: Sequence[float], *, width: int, height: int) -> str:
    """The points of a polyline through values, from left to right; many values are averaged in groups.

    Example:
        >>> curve([3.0, 1.0, 2.0], width=100, height=20)
        '0.0,0.0 50.0,20.0 100.0,10.0'
    """
    size = -(-len(values) // _POINTS)
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    means = [sum(group) / len(group) for group in groups]
    low, high = min(means), max(means)
    across, down = max(len(means) - 1, 1), (high - low) or 1.0
    return " ".join(f"{i * width / across:.1f},{(high - mean) / down * height:.1f}" for i, mean in enumerate(means))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
