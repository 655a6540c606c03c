"""What smart tools draw, as prompts."""

from __future__ import annotations

from typing import Any

import pytest

from maskbridge.labelstudio.label_config import parse
from maskbridge.labelstudio.prompts import read_prompts

CONFIG = parse(
    '<View><Image name="image" value="$image"/><Labels name="label" toName="image"><Label value="cat"/></Labels>'
    '<Brush name="brush" toName="image"/><Rectangle name="rectangle" toName="image" smart="true"/>'
    '<EllipseLabels name="ellipse" toName="image" smart="true"><Label value="cat"/></EllipseLabels>'
    '<PolygonLabels name="polygon" toName="image" smart="true"><Label value="cat"/></PolygonLabels></View>'
)


def drawn(kind: str, name: str, value: dict[str, Any], region_id: str = "r") -> dict[str, Any]:
    sizes = {"original_width": 200, "original_height": 100}
    return {"id": region_id, "type": kind, "from_name": name, "to_name": "image", "value": value, **sizes}


@pytest.mark.parametrize(
    ("kind", "value", "box"),
    [
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 0}, (0.4, 0.3, 0.6, 0.7)),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 90}, (0.4, 0.3, 0.6, 0.7)),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90}, (0.45, 0.1, 0.55, 0.9)),
        ("ellipselabels", {"x": 0, "y": 0, "radiusX": 10, "radiusY": 20}, (0.0, 0.0, 0.1, 0.2)),
        ("polygonlabels", {"points": [[10, 20], [30, 20], [20, 60]], "closed": True}, (0.1, 0.2, 0.3, 0.6)),
        ("polygonlabels", {"points": [[-10, 20], [30, 20], [20, 160]]}, (0.0, 0.2, 0.3, 1.0)),
    ],
)
def test_the_box_around_a_shape(kind: str, value: dict[str, Any], box: tuple[float, ...]) -> None:
    labeled = {**value, kind: ["cat"]}
    (prompt,) = read_prompts({"result": [drawn(kind, kind.removesuffix("labels"), labeled)]}, CONFIG)
    assert prompt.box == pytest.approx(box)
    assert (prompt.label, prompt.point) == ("cat", None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ellipselabels", {"x": 50, "y": 50}),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": float("nan"), "radiusY": 1}),
        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 0, "radiusY": 0}),
        ("polygonlabels", {"points": []}),
        ("polygonlabels", {"points": [[1, 2, 3]]}),
        ("polygonlabels", {"points": [["a", "b"]]}),
        ("polygonlabels", {"points": [[500, 500], [600, 600], [500, 600]]}),
    ],
)
def test_shapes_that_cannot_be_read_are_skipped(kind: str, value: dict[str, Any]) -> None:
    assert read_prompts({"result": [drawn(kind, kind.removesuffix("labels"), value)]}, CONFIG) == []


def test_a_generic_rectangle_has_the_label_of_its_other_result() -> None:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0}
    shape = drawn("rectangle", "rectangle", value)
    label = drawn("labels", "label", {**value, "labels": ["cat"]})
    for result in ([shape, label], [label, shape]):
        (prompt,) = read_prompts({"result": result}, CONFIG)
        assert (prompt.label, prompt.control.name) == ("cat", "rectangle")
        assert prompt.box == pytest.approx((0.1, 0.1, 0.3, 0.3))
    (prompt,) = read_prompts({"result": [shape]}, CONFIG)
    assert prompt.label is None
    odd = [{**region, "id": [1]} for region in (shape, label)]
    assert [prompt.label for prompt in read_prompts({"result": odd}, CONFIG)] == ["cat"]
