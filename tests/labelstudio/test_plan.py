"""Label configs: what they ask for, and what they cannot do."""

from __future__ import annotations

import logging

import pytest

from maskbridge.adapter.confidence import confidence_of
from maskbridge.labelstudio.label_config import Label, LabelConfigError, parse
from maskbridge.labelstudio.label_map import label_map
from maskbridge.labelstudio.plan import Plan, make_plan
from maskbridge.labelstudio.tasks import ImageValue, image_values

NAMES = ("__background__", "person", "cat", "dog", "N/A", "Traffic Light")


def plan(body: str, confidence: float = 0.5) -> Plan:
    return make_plan(f"<View>{body}</View>", NAMES, confidence)


IMAGE = '<Image name="image" value="$image"/>'


def control(tag: str, labels: str, attributes: str = "", name: str = "label") -> str:
    return f'<{tag} name="{name}" toName="image" {attributes}>{labels}</{tag}>'


@pytest.mark.parametrize(
    ("labels", "mapping"),
    [
        ([Label("person", "person")], {"person": "person"}),
        ([Label("Person", "Person")], {"person": "Person"}),
        ([Label("traffic light", "TL")], {"Traffic Light": "TL"}),
        ([Label("pet", "pet", ("cat", "DOG"))], {"cat": "pet", "dog": "pet"}),
        # exact names win over predicted_values, those over other case, whatever the order
        ([Label("pet", "pet", ("cat",)), Label("cat", "cat")], {"cat": "cat"}),
        ([Label("CAT", "CAT"), Label("pet", "pet", ("cat",))], {"cat": "pet"}),
        ([Label("Human", "person")], {"person": "person"}),  # the alias names the class
        ([Label("person", "p1"), Label("person", "p2")], {"person": "p1"}),
        ([Label("zebra", "zebra")], {}),
        ([], {}),
    ],
)
def test_which_label_maps_to_which_class(labels: list[Label], mapping: dict[str, str]) -> None:
    assert label_map(labels, ["person", "cat", "dog", "Traffic Light"]) == mapping


def test_a_config_with_everything() -> None:
    made = plan(
        IMAGE
        + control("PolygonLabels", '<Label value="person" alias="P"/>', 'model_score_threshold="0.3"', "poly")
        + control("brushlabels", '<Label value="Cat"/><View><Label value="dog"/></View>', "", "brush")
        + control("RectangleLabels", '<Label value="person"/>', 'smart="true" smartOnly="true"', "prompt")
        + control("BitmaskLabels", '<Label value="person"/>', 'model_skip="true"', "skipped")
        + control("Choices", '<Choice value="person"/>', "", "choice")
    )
    (image,) = made.images
    assert [(tag.kind, tag.from_name, dict(tag.labels), tag.threshold) for tag in image.tags] == [
        ("PolygonLabels", "poly", {"person": "P"}, 0.3),
        ("BrushLabels", "brush", {"cat": "Cat", "dog": "dog"}, 0.5),
        ("Choices", "choice", {"person": "person"}, 0.5),
    ]
    assert image.classes == ("person", "cat", "dog")
    assert image.threshold == 0.3
    assert image.masks
    assert made.config.controls[2].smart_only


def test_boxes_only_needs_no_masks() -> None:
    (image,) = plan(IMAGE + control("RectangleLabels", '<Label value="cat"/>')).images
    assert not image.masks
    assert image.classes == ("cat",)


def test_several_images() -> None:
    made = plan(
        '<Image name="image" value="$image"/><Image name="other" valueList="$more"/>'
        '<BrushLabels name="label" toName="image,other"><Label value="cat"/></BrushLabels>'
        '<RectangleLabels name="box" toName="other"><Label value="dog"/></RectangleLabels>'
    )
    first, second = made.images
    assert [tag.to_name for tag in first.tags] == ["image"]
    assert [(tag.kind, tag.to_name) for tag in second.tags] == [("BrushLabels", "other"), ("RectangleLabels", "other")]
    data = {"image": "a.jpg", "more": ["b.jpg", "c.jpg"]}
    assert image_values(first.image, data) == [ImageValue(None, "a.jpg")]
    assert image_values(second.image, data) == [ImageValue(0, "b.jpg"), ImageValue(1, "c.jpg")]
    with pytest.raises(KeyError, match="more"):
        image_values(second.image, {"image": "a.jpg"})


def test_a_field_inside_a_field() -> None:
    (image,) = plan('<Image name="image" value="$sample.url"/>' + control("BrushLabels", '<Label value="cat"/>')).images
    assert image_values(image.image, {"sample": {"url": "a.jpg"}}) == [ImageValue(None, "a.jpg")]
    assert image_values(image.image, {"sample.url": "b.jpg"}) == [ImageValue(None, "b.jpg")]


def test_unmapped_labels_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    body = IMAGE + control("BrushLabels", '<Label value="cat"/><Label value="zebra"/><Label value="yeti"/>')
    with caplog.at_level(logging.INFO):
        plan(body)
        plan(body)
    messages = [record.getMessage() for record in caplog.records]
    assert sum("'zebra', 'yeti'" in line for line in messages) == 1
    assert sum("'person', 'dog', 'Traffic Light'" in line for line in messages) == 1  # not computed


def test_a_config_that_asks_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert plan(IMAGE + control("BrushLabels", '<Label value="zebra"/>')).images == ()
    assert "no label for a class of the model" in caplog.text
    assert plan('<Text name="t" value="$text"/>').images == ()
    assert make_plan("<View/>", NAMES, 0.5).images == ()


def test_plans_differ_by_config_and_confidence() -> None:
    body = IMAGE + control("BrushLabels", '<Label value="cat"/>')
    assert plan(body).key == plan(body).key
    assert len({plan(body).key, plan(body, 0.6).key, plan(body.replace("cat", "dog")).key}) == 3


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "no xml",
        "<View>",
        '<!DOCTYPE v [<!ENTITY a "b">]><View>&a;</View>',
        '<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>',
        '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>',
        '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><View>&b;</View>',
        "<View>" + " " * 3_000_000 + "</View>",
        '<View><Image name="i" value="$p"/><BrushLabels name="b" toName="i" model_score_threshold="high"/></View>',
        '<View><Image name="i" value="$p"/><BrushLabels name="b" toName="i" model_score_threshold="1.5"/></View>',
    ],
)
def test_configs_that_are_refused(xml: str) -> None:
    with pytest.raises(LabelConfigError):
        parse(xml)


def test_a_config_names_no_file_and_no_host() -> None:
    body = IMAGE + control("BrushLabels", '<Label value="cat"/>', 'model_path="/etc/passwd" modelUrl="http://evil/"')
    assert "evil" not in repr(plan(body)) + repr(plan(body).config)
    assert "passwd" not in repr(plan(body)) + repr(plan(body).config)


TWO_CLASSES = """<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">
<Label value="person"/><Label value="dog"/></RectangleLabels></View>"""


def test_tags_use_the_threshold_of_each_class() -> None:
    names = ("__background__", "person", "dog")
    (image,) = make_plan(TWO_CLASSES, names, confidence_of("person=0.9,dog=0.2")).images
    (tag,) = image.tags
    assert (image.threshold, tag.threshold_of("person"), tag.threshold_of("dog")) == (0.2, 0.9, 0.2)
    own = TWO_CLASSES.replace("toName", 'model_score_threshold="0.3" toName')
    (image,) = make_plan(own, names, confidence_of("person=0.9")).images
    assert (image.threshold, image.tags[0].threshold_of("person")) == (0.3, 0.3)
