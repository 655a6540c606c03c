"""JSON exports: where their images are, and which regions they have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskbridge.adapter.datasets.labeled_dataset import DataError
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.labelstudio.exports import read_export

CASES = Path(__file__).parents[1] / "cases"


def region(number: int, **others: Any) -> dict[str, Any]:
    value = {"points": [[10, 10], [50, 10], [50, 60]], "closed": True, "polygonlabels": ["person"]}
    sizes = {"original_width": 80, "original_height": 60, "image_rotation": 0}
    common = {"id": f"r{number}", "from_name": "label", "to_name": "image", "type": "polygonlabels", "value": value}
    return {**common, **sizes, **others}


def write(folder: Path, *tasks: tuple[dict[str, Any], list[dict[str, Any]]]) -> Path:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((60, 80, 3), dtype=np.uint8)).save(folder / name)
    export = [
        {"id": number, "data": data, "annotations": [{"id": number, "result": result}]}
        for number, (data, result) in enumerate(tasks, start=1)
    ]
    (folder / "export.json").write_text(json.dumps(export))
    return folder / "export.json"


@pytest.mark.parametrize(("name", "labels"), [("export-value-list.json", 2), ("export-nested.json", 1)])
def test_images_in_lists_and_in_nested_fields(name: str, labels: int, tmp_path: Path) -> None:
    shutil.copytree(CASES / "coco" / "images", tmp_path / "images")
    shutil.copy(CASES / "label-studio" / name, tmp_path)
    dataset = read_export(tmp_path / name, tmp_path / "images")
    assert sum(len(image.instances) for image in dataset) == labels
    assert (dataset.skipped, dataset.skipped_images) == ((), ())


@pytest.mark.parametrize(
    "data",
    [
        {"text": "cat/dog", "picture": "/data/upload/1/abcdefgh-a.png"},
        {"note": "see b", "deep": {"er": [{"url": "s3://bucket/a.png"}]}},
        {"image": '["/data/upload/1/abcdefgh-a.png"]'},
        {"image": "/data/local-files/?d=folder%5Ca.png"},
        {
            "text": "x" * 5000,
            "url": "http://[bad",
            "null": "\0",
            "half": "\ud800",
            "image": "/data/upload/1/abcdefgh-a.png",
        },
    ],
)
def test_the_field_whose_texts_name_files(data: dict[str, Any], tmp_path: Path) -> None:
    (image,) = read_export(write(tmp_path, (data, [region(1)])))
    assert Path(str(image.image)).name == "a.png"


def test_a_repeater(tmp_path: Path) -> None:
    data = {"document": [{"page": "/data/upload/1/abcdefgh-a.png"}, {"page": "/data/upload/1/abcdefgh-b.png"}]}
    regions = [region(n, to_name=f"page_{n}", from_name=f"label_{n}") for n in range(2)]
    images = {Path(str(image.image)).name: image.instances.ids for image in read_export(write(tmp_path, (data, regions)))}
    assert images == {"a.png": ("r0",), "b.png": ("r1",)}


def test_sizes_that_are_written_with_a_point(tmp_path: Path) -> None:
    data = {"image": "/data/upload/1/abcdefgh-a.png"}
    path = write(tmp_path, (data, [region(1, original_width=80.0, original_height=60.0), region(2, original_width=80.5)]))
    dataset = read_export(path)
    assert dataset[0].instances.ids == ("r1",)
    assert "80.5" in dataset.skipped[0].reason


def test_types_that_were_met_are_named(tmp_path: Path) -> None:
    data = {"image": "/data/upload/1/abcdefgh-a.png"}
    kinds = ("keypointlabels", "keypointlabels", "ellipselabels")
    with pytest.raises(DataError, match="it has 2 x keypointlabels, 1 x ellipselabels"):
        read_export(write(tmp_path, (data, [region(n, type=kind) for n, kind in enumerate(kinds)])))


def test_nothing_is_lost_silently(tmp_path: Path) -> None:
    data = {"images": ["/data/upload/1/abcdefgh-a.png"]}
    dataset = read_export(write(tmp_path, (data, [region(1, item_index=0), region(2, item_index=3)])))
    assert [image.instances.ids for image in dataset] == [("r1",)]
    assert [(image.name, image.labels) for image in dataset.skipped_images if image.labels] == [("task 1 image 3", 1)]
    odd = write(tmp_path, (data, [region(1), region(2, to_name=["image"]), {"type": "labels", "value": 5}]))
    assert [image.instances.ids for image in read_export(odd)] == [("r1", "r2")]
    two = {"left": "/data/upload/1/abcdefgh-a.png", "right": "/data/upload/1/abcdefgh-b.png"}
    with pytest.raises(MaskbridgeError, match="several images of a task"):
        read_export(write(tmp_path, (two, [region(1, to_name="image1"), region(2, to_name="image2")])))


def test_generic_labels(tmp_path: Path) -> None:
    shape = region(1, type="polygon", from_name="tool")
    shape["value"] = {"points": shape["value"]["points"], "closed": True}
    label = {**shape, "type": "labels", "from_name": "label", "value": {**shape["value"], "labels": ["person"]}}
    dataset = read_export(write(tmp_path, ({"image": "/data/upload/1/abcdefgh-a.png"}, [shape, label])))
    assert [(image.instances.names, image.instances.ids) for image in dataset] == [(["person"], ("r1",))]
    assert dataset.skipped == ()
