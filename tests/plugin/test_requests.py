"""Requests: what a script, a delegated run and the App's form ask is one and the same."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService

from maskbridge.adapter import MaskRCNN, SettingsError
from maskbridge.adapter.confidence import confidence_of
from maskbridge.plugin.model import MaskRCNNModel
from maskbridge.plugin.operators import OPERATORS
from maskbridge.plugin.operators.base import LongOperator
from maskbridge.plugin.requests.base import RunRequest
from maskbridge.plugin.requests.segment_instances import SegmentInstancesRequest

LONG = [operator for operator in OPERATORS if issubclass(operator, LongOperator)]
OTHER: dict[str, Any] = {
    "label_field": "part", "weights": "bundled", "device": "cpu", "existing": "skip", "classes": ("person",),
    "confidence": 0.25, "mask_threshold": 0.75, "max_detections": 7, "masks": "folder", "mask_folder": "/masks",
    "batch_size": 3, "num_workers": 2, "new_field": "filled", "only_missing": False, "name": "mine", "epochs": 3,
    "learning_rate": 0.5, "validation": 0.5, "precision": "bfloat16", "class_confidence": "person=0.5",
    "engine": "openvino", "streams": 3,
}  # fmt: skip
"""For each option a value that is not its default."""


@pytest.mark.parametrize("operator", LONG, ids=lambda operator: operator.__name__)
def test_no_option_is_lost_when_a_run_is_delegated(operator: type[LongOperator], dataset: fo.Dataset) -> None:
    dataset.persistent = True
    kind = operator.request_type
    options = {name: OTHER[name] for name in kind.model_fields}
    request = kind.from_options(**options)
    assert all(getattr(request, name) != field.default for name, field in kind.model_fields.items())

    run = foo.get_operator(f"@maskbridge/maskbridge/{operator(_builtin=False).config.name}")
    queued = run(dataset, delegate=True, **options)
    service = DelegatedOperationService()
    params = service.get(queued.result["id"]).context.request_params["params"]
    service.delete_operation(queued.result["id"])
    assert kind.from_params(params) == request


@pytest.mark.parametrize("operator", LONG, ids=lambda operator: operator.__name__)
def test_missing_and_empty_parameters_have_their_defaults(operator: type[LongOperator]) -> None:
    kind = operator.request_type
    default = kind(label_field="part")
    params = dict.fromkeys(kind.model_fields) | {"label_field": "part", "view_target": "DATASET", "more": True}
    assert kind.from_params(params) == default
    assert kind.from_params(default.to_dict()) == default
    with pytest.raises(SettingsError, match="confidnce is unknown: "):
        kind.from_options(label_field="part", confidnce=0.5)


def test_names_of_operators_requests_and_jobs_agree() -> None:
    from importlib import import_module

    for operator in LONG:
        name = operator(_builtin=False).config.name
        assert issubclass(operator.request_type, RunRequest)
        for folder in ("operators", "requests", "jobs"):
            import_module(f"maskbridge.plugin.{folder}.{name}")


def test_classes_have_a_confidence_of_their_own(bundled: MaskRCNN) -> None:
    options = {"confidence": 0.3, "class_confidence": "person=0.6"}
    request = SegmentInstancesRequest.from_options(**options)
    assert SegmentInstancesRequest.from_params(request.to_dict()) == request
    confidence = confidence_of("person=0.6", default=0.3)
    assert MaskRCNNModel(bundled, confidence_threshold=confidence)._settings().class_thresholds == (0.3, 0.6)
    for text in ("person=7", "person", "person=high"):
        assert "from 0 to 1" in SegmentInstancesRequest.problems_of({"class_confidence": text})["class_confidence"]
