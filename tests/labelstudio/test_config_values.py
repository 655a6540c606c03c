"""Values of image tags as the editor resolves them, repeated tags, labels from the task, generic tags, choices."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskbridge.adapter import Instances, MaskCrop
from maskbridge.labelstudio.annotations import labeled_dataset
from maskbridge.labelstudio.label_config import ImageTag, LabelConfigError, parse
from maskbridge.labelstudio.plan import make_plan, plan_for_task
from maskbridge.labelstudio.tags import TAGS, Choices, LabelTag
from maskbridge.labelstudio.tasks import image_values

CASES = Path(__file__).parents[1] / "cases" / "label-studio"
NAMES = ("__background__", "person", "cat")
POLYGON = '<PolygonLabels name="label" toName="image"><Label value="person"/></PolygonLabels>'
MASK = np.zeros((6, 8), dtype=bool)
MASK[1:5, 2:7] = True
PERSON = Instances((10, 20), [[5, 3, 10, 7]], [1], NAMES[:2], [MaskCrop(3, 2, MASK)], scores=[0.75], ids=("r1",))


@pytest.mark.parametrize(
    ("value", "data", "resolved"),
    [
        ("$image", {"image": "a.jpg"}, "a.jpg"),
        ("$images[1]", {"images": ["a.jpg", "b.jpg"]}, "b.jpg"),
        ("$pages[0].url", {"pages": [{"url": "a.jpg"}]}, "a.jpg"),
        ("$a.b.c", {"a": {"b": {"c": "a.jpg"}}}, "a.jpg"),
        ("$a.b", {"a.b": "flat.jpg", "a": {"b": "nested.jpg"}}, "flat.jpg"),
        ("https://example.org/$folder/$name?size=1", {"folder": "f", "name": "a"}, "https://example.org/f/a?size=1"),
        ("https://example.org/a.jpg", {}, "https://example.org/a.jpg"),
        ("$images", {"images": ["a.jpg", "b.jpg"]}, "a.jpg"),
        ("$my-image", {"my-image": "a.jpg"}, "a.jpg"),
    ],
)
def test_values_of_images(value: str, data: dict[str, Any], resolved: str) -> None:
    (image,) = parse(f'<View><Image name="image" value="{value.replace("&", "&amp;")}"/></View>').images
    assert [shown.value for shown in image_values(image, data)] == [resolved]


@pytest.mark.parametrize("value", ["$image", "$images[2]", "$images[0].url", "$pages.url", "x/$image"])
def test_values_that_a_task_has_not(value: str) -> None:
    with pytest.raises(KeyError):
        image_values(ImageTag("image", value), {"images": ["a.jpg", "b.jpg"], "pages": [{"url": "c.jpg"}]})


def test_lists_of_images() -> None:
    tag = ImageTag("image", "$images", is_list=True)
    for images in (["a.jpg", "b.jpg"], '["a.jpg", "b.jpg"]'):
        assert [(shown.index, shown.value) for shown in image_values(tag, {"images": images})] == [
            (0, "a.jpg"),
            (1, "b.jpg"),
        ]
    assert [shown.value for shown in image_values(tag, {"images": "[not json"})] == ["[not json"]


def test_values_that_are_not_understood_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    config = f'<View><Image name="image" value="picture"/><Image name="other"/>{POLYGON}</View>'
    for _ in range(2):
        make_plan(config, NAMES, 0.5)
        plan_for_task(config, NAMES, 0.5, {"picture": "a.jpg"})
    messages = [record.getMessage() for record in caplog.records if "not understood" in record.getMessage()]
    assert len(messages) == 2
    assert "Image 'image': its value 'picture' is neither a variable nor an address" in messages[0]


def test_a_repeater_has_the_tags_of_each_item() -> None:
    xml = (CASES / "repeater.xml").read_text()
    data = {"document": [{"page": "a.jpg"}, {"page": "b.jpg"}]}
    plan = plan_for_task(xml, NAMES, 0.5, data)
    shown = [(image.image.name, image.tags[0].from_name, image_values(image.image, data)[0].value) for image in plan.images]
    assert shown == [("page_0", "label_0", "a.jpg"), ("page_1", "label_1", "b.jpg")]
    assert plan_for_task(xml, NAMES, 0.5, {"document": []}).config.missing == ()
    assert plan_for_task(xml, NAMES, 0.5, {}).config.missing == ("$document",)
    assert plan_for_task(xml, NAMES, 0.5, data) is plan, "equal tasks share a plan"
    nested = (
        '<View><Repeater on="$a" indexFlag="{{i}}"><Repeater on="$a[{{i}}].b" indexFlag="{{j}}">'
        '<Image name="image{{i}}-{{j}}" value="$a[{{i}}].b[{{j}}]"/></Repeater></Repeater></View>'
    )
    config = parse(nested).for_task({"a": [{"b": ["x/1", "x/2"]}, {"b": ["x/3"]}]})
    assert [image.name for image in config.images] == ["image0-0", "image0-1", "image1-0"]


def test_regions_of_a_repeater() -> None:
    """Of a page that the task no longer has, and of a task without the list, they are named."""
    xml = (CASES / "repeater.xml").read_text()
    polygon = {"points": [[10, 10], [50, 10], [50, 60]], "polygonlabels": ["person"]}
    common = {"type": "polygonlabels", "value": polygon, "original_width": 80, "original_height": 60}
    regions = [{"id": f"r{n}", "from_name": f"label_{n}", "to_name": f"page_{n}", **common} for n in range(3)]
    tasks = [
        {"id": number, "data": data, "annotations": [{"result": regions}]}
        for number, data in enumerate(({"document": [{"page": "a.jpg"}, {"page": "b.jpg"}]}, {"document": "none"}))
    ]
    dataset = labeled_dataset(tasks, parse(xml), None)
    assert [image.instances.ids for image in dataset if image.instances.ids] == [("r0",), ("r1",)]
    assert [(skipped.image, skipped.label) for skipped in dataset.skipped] == [
        ("task 0", "r2"), ("task 1", "r0"), ("task 1", "r1"), ("task 1", "r2"),
    ]  # fmt: skip
    assert "its image tag 'page_2' is not in the label config for this task" in dataset.skipped[0].reason


def test_a_repeater_cannot_take_the_memory() -> None:
    nested = "<Image/>"
    for level in range(6):
        nested = f'<Repeater on="$a" indexFlag="{{{{{level}}}}}">{nested}</Repeater>'
    with pytest.raises(LabelConfigError, match="more than"):
        parse(f"<View>{nested}</View>").for_task({"a": list(range(1000))})


def test_labels_that_the_task_lists() -> None:
    xml = '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image" value="$labels"/></View>'
    labels = [{"value": "Person", "alias": "p", "children": [{"value": "cat"}]}, "yeti", {"no": "value"}, 5]
    (image,) = plan_for_task(xml, NAMES, 0.5, {"labels": labels}).images
    assert dict(image.tags[0].labels) == {"person": "p", "cat": "cat"}
    assert plan_for_task(xml, NAMES, 0.5, {"labels": "none"}).images == ()


def test_labels_of_a_task_that_map_to_no_class_are_named(caplog: pytest.LogCaptureFixture) -> None:
    xml = '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image" value="$labels"/></View>'
    for _ in range(2):
        assert plan_for_task(xml, NAMES, 0.5, {"labels": ["yeti", "troll"]}).images == ()
    messages = [record.getMessage() for record in caplog.records]
    assert sum("unmapped labels (no class of the model): 'yeti', 'troll'" in message for message in messages) == 1


def test_labels_that_cannot_map_are_named(caplog: pytest.LogCaptureFixture) -> None:
    xml = '<View><Image name="image" value="$image"/><Brush name="brush" toName="image"/></View>'
    with caplog.at_level(logging.WARNING):
        assert make_plan(xml, NAMES, 0.5).images == ()
    assert "Brush 'brush': no <Labels> tag on its image" in caplog.text


@pytest.mark.parametrize("kind", TAGS, ids=lambda kind: kind.kind)
def test_generic_tags_come_back_as_the_same_object(kind: type[LabelTag], tmp_path: Path) -> None:
    """As the editor serializes them: one result with the shape, one with the label, with one id."""
    tool = kind.generic_type().capitalize()
    xml = (
        '<View><Image name="image" value="$image"/><Labels name="label" toName="image"><Label value="person"/></Labels>'
        f'<{tool} name="tool" toName="image"/></View>'
    )
    (image,) = make_plan(xml, NAMES, 0.5).images
    (tag,) = image.tags
    assert isinstance(tag, kind)
    shape, label = tag.encode(PERSON)
    assert [(part["type"], part["from_name"]) for part in (shape, label)] == [(tool.lower(), "tool"), ("labels", "label")]
    assert shape["id"] == label["id"] == "r1"
    assert label["value"] == {**shape["value"], "labels": ["person"]}
    decoded = tag.decode([shape, label])
    np.testing.assert_allclose(decoded.boxes, PERSON.boxes, atol=1e-3)
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"id": 1, "result": [shape, label]}]}
    (labeled,) = labeled_dataset([task], parse(xml), None)
    assert (labeled.instances.names, labeled.instances.ids) == (["person"], ("r1",))
    dataset = labeled_dataset([{**task, "annotations": [{"id": 1, "result": [shape]}]}], parse(xml), None)
    assert [(skipped.label, skipped.reason) for skipped in dataset.skipped] == [("r1", "it has no label")]


def test_a_generic_region_that_is_not_read_is_named_once() -> None:
    value = {"x": 10, "y": 10, "radiusX": 5, "radiusY": 5}
    sizes = {"id": "e1", "to_name": "image", "original_width": 20, "original_height": 10}
    shape = {**sizes, "type": "ellipse", "from_name": "tool", "value": value}
    label = {**sizes, "type": "labels", "from_name": "label", "value": {**value, "labels": ["person"]}}
    config = parse(
        '<View><Image name="image" value="$image"/><Labels name="label" toName="image"><Label value="person"/></Labels>'
        '<Ellipse name="tool" toName="image"/><Brush name="brush" toName="image"/></View>'
    )
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"id": 1, "result": [shape, label]}]}
    assert [skipped.reason for skipped in labeled_dataset([task], config, None).skipped] == [
        "regions of the type 'ellipse' are not read"
    ]


def test_choices_are_the_classes_that_are_present() -> None:
    choices = '<Choices name="has" toName="image" {}><Choice value="Person"/><Choice value="cat" alias="c"/></Choices>'
    pair = Instances((10, 20), [[0, 0, 5, 5]] * 3, [1, 2, 1], NAMES, [None] * 3, scores=[0.6, 0.9, 0.4])

    def chosen(attributes: str, image: str = 'value="$image"', instances: Instances = pair) -> Any:
        plan = make_plan(f'<View><Image name="image" {image}/>{choices.format(attributes)}</View>', NAMES, 0.5)
        return [tag.encode(instances) for one in plan.images for tag in one.tags if isinstance(tag, Choices)]

    ((multiple,),) = chosen('choice="multiple"')
    assert (multiple["type"], multiple["value"]) == ("choices", {"choices": ["c", "Person"]})
    assert multiple["score"] == pytest.approx(0.9)
    ((single,),) = chosen("")
    assert single["value"] == {"choices": ["c"]}
    assert chosen("", instances=replace(pair, scores=np.array([0.1, 0.2, 0.3], dtype=np.float32))) == [[]]
    assert chosen('perRegion="true"') == []
    assert chosen("", 'valueList="$images"') == []
    assert len(chosen('perItem="true"', 'valueList="$images"')) == 1
