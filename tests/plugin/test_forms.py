"""The operators' forms, and the model source of FiftyOne's zoo."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest

from plugin_operators import FAST, URI, operator


class Context:
    """Enough of an operator's context to resolve a form."""

    def __init__(self, dataset: fo.Dataset, **params: Any) -> None:
        from fiftyone.operators.executor import ExecutionContext

        self.ctx = ExecutionContext({"dataset_name": dataset.name, "params": params}, operator_uri=URI)

    def form(self, name: str) -> Any:
        return operator(name).resolve_input(self.ctx).type.properties


def test_forms_name_what_is_wrong(filled: fo.Dataset) -> None:
    fields = Context(filled).form("segment_instances")
    assert fields["weights"].default == "bundled"
    assert fields["confidence"].default == 0.5
    assert "existing" not in fields
    assert not any(field.invalid for field in fields.values())
    wrong = Context(filled, confidence=3, label_field="filepath", more=True, batch_size=-1).form("segment_instances")
    assert [name for name, field in wrong.items() if field.invalid] == ["label_field", "confidence", "batch_size"]
    assert "from 0 to 1" in wrong["confidence"].error_message
    filled.set_values("predicted", [fo.Detections() for _ in filled])
    assert "existing" in Context(filled, label_field="predicted").form("segment_instances")
    assert "mask_folder" in Context(filled, masks="folder").form("segment_instances")
    assert Context(filled, weights="another file", weights_file="a.exe").form("segment_instances")["weights_file"].invalid
    assert "none" in Context(filled).form("describe_run")
    operator("segment_instances")(filled, "predicted", **FAST)
    assert "description" in Context(filled).form("describe_run")
    assert "none" in Context(filled).form("stop_run")
    assert Context(filled).form("segment_boxes")["label_field"].default == "predicted"


@pytest.mark.openvino
def test_weights_in_int8_say_what_they_lose(filled: fo.Dataset, int8_file: Path) -> None:
    chosen = {"weights": "another file", "weights_file": str(int8_file)}
    fields = Context(filled, **chosen).form("segment_instances")
    assert fields["loss"].view.label.startswith("In int8: mean mask IoU ")
    assert "loss" not in Context(filled).form("segment_instances")
    report = operator("segment_instances")(filled, "int8", weights=str(int8_file))
    assert (report["state"], report["failed"]) == ("completed", 0)
    (run,) = (filled.get_run_info(key) for key in filled.list_runs())
    assert run.config.engine == "openvino in int8"


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The plugin's folder as an archive on a web server, as a model source."""
    import http.server

    from conftest import ROOT

    shutil.make_archive(str(tmp_path / "maskbridge"), "zip", ROOT, "plugin")
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "zoo"))
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/maskbridge.zip"
        server.shutdown()


def test_the_model_source(zoo: str, filled: fo.Dataset) -> None:
    import fiftyone.zoo as foz

    foz.register_zoo_model_source(zoo)
    names = [name for name in foz.list_zoo_models() if name.startswith("maskbridge/")]
    assert len(names) == 3
    model = foz.load_zoo_model("maskbridge/bundled", confidence_threshold=0.3)
    filled.apply_model(model, label_field="zoo", progress=False)
    assert filled.count("zoo") == 5
