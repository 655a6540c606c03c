"""What Label Studio asks of a backend, and what the backend counts."""

from __future__ import annotations

import re
from typing import Any

import httpx

CONFIG = (
    '<View><Image name="image" value="$image"/><{tag} name="label" toName="image">'
    '<Label value="{label}" predicted_values="person"/></{tag}></View>'
)
BRUSH = CONFIG.format(tag="BrushLabels", label="Person")


def task(number: int, image: object) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "project": 1}


def predict(url: str, tasks: list[Any], config: str = BRUSH, **others: Any) -> list[Any]:
    body = {"tasks": tasks, "label_config": config, "project": "1.1700000000", "params": {"context": None}, **others}
    answer = httpx.post(f"{url}/predict", json=body, timeout=600)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(results) == len(tasks)
    return list(results)


def metric(url: str, name: str) -> float:
    match = re.search(rf"^{re.escape(name)} ([0-9.e+-]+)$", httpx.get(f"{url}/metrics").text, flags=re.M)
    return float(match.group(1)) if match else 0.0
