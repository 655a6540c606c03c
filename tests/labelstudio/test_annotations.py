"""What people annotated, as labeled images: which annotation counts, and what is said of labels that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskbridge.adapter import Instances, MaskbridgeError, MaskCrop
from maskbridge.adapter.datasets.labeled_dataset import DataError, LabeledDataset
from maskbridge.labelstudio.annotations import chosen_annotation, labeled_dataset
from maskbridge.labelstudio.errors import TaskImageError
from maskbridge.labelstudio.exports import read_export
from maskbridge.labelstudio.label_config import parse
from maskbridge.labelstudio.tags import BrushLabels, PolygonLabels, RectangleLabels

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="mask" toName="image"><Label value="cat"/><Label value="dog" alias="hound"/></BrushLabels>
<RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>
<EllipseLabels name="round" toName="image"><Label value="cat"/></EllipseLabels>
<TextArea name="text" toName="image" perRegion="true"/></View>"""
CROP = MaskCrop(3, 2, np.ones((4, 6), dtype=bool))
CAT = Instances((20, 30), [[3, 2, 9, 6]], [1], ("__background__", "cat"), [CROP], ids=("c1",))
BRUSH = BrushLabels("mask", "image", {"cat": "cat"}).encode(CAT)[0]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def task(*regions: Any, number: int = 1, **annotation: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": "/data/upload/1/a.png"},
        "annotations": [{"result": list(regions), **annotation}],
    }


def read(image: Path, *tasks: Any, config: str = CONFIG) -> LabeledDataset:
    return labeled_dataset(tasks, parse(config), lambda value, task: image)


def test_ground_truth_counts_else_the_newest_and_never_a_skipped_one() -> None:
    old, new = {"updated_at": "2026-01-01", "id": 1}, {"updated_at": "2026-02-01", "id": 2}
    skipped, truth = {"updated_at": "2026-03-01", "was_cancelled": True}, {"updated_at": "2025-01-01", "ground_truth": True}
    assert chosen_annotation({"annotations": [new, old, skipped]}) is new
    assert chosen_annotation({"annotations": [new, truth, old]}) is truth
    for nothing in ({}, {"annotations": []}, {"annotations": None}, {"annotations": [skipped]}, {"annotations": ["x"]}):
        assert chosen_annotation(nothing) is None


def test_regions_become_instances_and_tasks_without_annotations_are_skipped(image: Path) -> None:
    box = RectangleLabels("box", "image", {"cat": "cat"}).encode(CAT)[0]
    dataset = read(image, task(BRUSH, box), task(number=2), {"id": 3, "data": {"image": "x"}})
    assert dataset.class_names == ("__background__", "cat", "hound")
    assert [image.name for image in dataset] == ["task 1", "task 2"]
    first, negative = (labeled.instances for labeled in dataset)
    assert (first.ids, first.names, len(negative)) == (("c1", "c1"), ["cat", "cat"], 0)
    np.testing.assert_array_equal(first.frame(0), CAT.frame(0))
    assert first.masks[1] is None
    assert dataset.skipped == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"original_width": 31}, "it is for an image of (31, 20) pixels, the image has (30, 20)"),
        ({"original_width": None}, "not pixels of an image"),
        ({"image_rotation": 90}, "rotated by 90 degrees"),
        ({"value": {**BRUSH["value"], "brushlabels": ["zebra"]}}, "its label ['zebra'] is not one of cat, hound"),
        ({"value": {**BRUSH["value"], "rle": [1, 2, 3]}}, "region c1"),
        ({"value": {**BRUSH["value"], "rle": "text"}}, "region c1 is malformed"),
        ({"value": None}, "region c1 is malformed"),
        ({"from_name": "round", "type": "ellipselabels", "value": {"x": 1, "y": 2}}, "'ellipselabels' are not read"),
        ({"from_name": "nosuch"}, "'brushlabels' are not read"),
    ],
)
def test_regions_that_cannot_be_used_are_named(changes: dict[str, Any], reason: str, image: Path) -> None:
    dataset = read(image, task({**BRUSH, **changes}, {**BRUSH, "id": "good"}))
    assert dataset[0].instances.ids == ("good",)
    ((name, label, message),) = [(bad.image, bad.label, bad.reason) for bad in dataset.skipped]
    assert (name, label) == ("task 1", "c1")
    assert reason in message


def test_texts_of_a_region_are_no_labels(image: Path) -> None:
    text = {**BRUSH, "from_name": "text", "type": "textarea", "value": {**BRUSH["value"], "text": ["sleeps"]}}
    dataset = read(
        image, task(BRUSH, text, {"id": "t", "type": "choices", "to_name": "image", "value": {"choices": ["a"]}}, 7)
    )
    assert (len(dataset[0]), dataset.skipped) == (1, ())


def test_a_region_without_an_id_is_a_label(image: Path) -> None:
    dataset = read(image, task({name: value for name, value in BRUSH.items() if name != "id"}))
    assert (len(dataset[0]), dataset.skipped) == (1, ())


def test_images_of_a_list_have_their_own_regions(image: Path) -> None:
    config = CONFIG.replace('value="$image"', 'valueList="$images"')
    second = {**BRUSH, "id": "second", "item_index": 1}
    listed = {"id": 4, "data": {"images": ["a", "b"]}, "annotations": [{"result": [{**BRUSH, "item_index": 0}, second]}]}
    dataset = read(image, listed, config=config)
    assert [(labeled.name, labeled.instances.ids) for labeled in dataset] == [
        ("task 4 image 0", ("c1",)),
        ("task 4 image 1", ("second",)),
    ]


def test_images_that_cannot_be_had_are_named(image: Path) -> None:
    def locate(value: object, task: Any) -> Path:
        if task["id"] == 1:
            raise TaskImageError("not_found", "404")
        return image if task["id"] == 2 else image.with_name("gone.png")

    dataset = labeled_dataset([task(BRUSH, number=n) for n in (1, 2, 3)], parse(CONFIG), locate)
    assert [labeled.name for labeled in dataset] == ["task 2"]
    assert [(image.name, image.labels) for image in dataset.skipped_images] == [("task 1", 1), ("task 3", 1)]


def test_an_export(image: Path, tmp_path: Path) -> None:
    polygon = PolygonLabels("outline", "img", {"cat": "cat"}).encode(CAT)[0]
    tasks = [task(polygon), {**task(polygon, number=2), "data": {"image": "/data/upload/7/0a1b2c3d-a.png?x=1"}}]
    missing = {**task(polygon, number=3), "data": {"image": "/data/upload/1/../../../etc/passwd"}}
    (tmp_path / "export.json").write_text(json.dumps([*tasks, missing]))
    dataset = read_export(tmp_path / "export.json")
    assert [labeled.name for labeled in dataset] == ["task 1", "task 2"]
    assert dataset.class_names == ("__background__", "cat")
    np.testing.assert_array_equal(dataset[0].instances.frame(0), CAT.frame(0))
    assert "'passwd' is not in" in dataset.skipped_images[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is not a JSON export"),
        ("[", "is not JSON"),
        ("[1]", "is not a JSON export"),
        ("[]", "no region of a supported tag"),
        (json.dumps([task({"type": "brushlabels"})]), "no region of a supported tag"),
        (json.dumps([task(BRUSH)]).replace("a.png", "b.png"), "no annotated task with an image"),
        (json.dumps([{"id": 1, "data": "text", "annotations": [{"result": [BRUSH]}]}]), "is not a JSON export"),
        (json.dumps([{"id": 1, "data": {}, "annotations": [{"result": [BRUSH]}]}]), "no annotated task with an image"),
        (json.dumps([{"id": 1, "data": {"image": "a"}, "annotations": [{"result": 5}]}]), "no region of a supported tag"),
    ],
)
def test_files_that_are_no_export(text: str, message: str, image: Path, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(text)
    with pytest.raises((DataError, MaskbridgeError), match=message):
        read_export(tmp_path / "export.json")
