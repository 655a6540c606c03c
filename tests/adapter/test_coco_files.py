"""COCO files as people have them: no label is lost or moved without a word."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maskbridge.adapter.datasets.coco_dataset import read_coco
from maskbridge.adapter.datasets.labeled_dataset import DataError, usable

CASES = Path(__file__).resolve().parents[1] / "cases" / "coco"
IMAGE = {"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}
LABEL = {"id": 5, "image_id": 1, "category_id": 0, "bbox": [1, 1, 8, 8], "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
GOOD: dict[str, Any] = {
    "images": [IMAGE],
    "annotations": [LABEL],
    "categories": [{"id": 0, "name": "zero"}, {"id": 7, "name": "seven"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"")
    return tmp_path


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "coco.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


@pytest.mark.parametrize("images", [None, CASES / "images"], ids=["beside", "named"])
@pytest.mark.parametrize(
    ("case", "names", "skipped"),
    [
        ("string-image-id", ["cat", "dog"], []),
        ("folder-in-name", ["cat", "dog"], []),
        ("bom", ["cat", "dog"], []),
        ("empty-box", ["cat", "dog"], []),
        ("unlisted-image", ["dog"], [("image 99", "1", "it is of an image that the file does not list")]),
        (
            "one-bad-part",
            ["cat", "dog"],
            [("a.png", "1", "a part of its mask: a polygon needs three points or more, as finite numbers x, y, x, y, …")],
        ),
    ],
)
def test_cases(case: str, images: Path | None, names: list[str], skipped: list[tuple[str, str, str]]) -> None:
    labeled = read_coco(CASES / f"{case}.json", images)
    assert [name for image in labeled for name in image.instances.names] == names
    assert [(label.image, label.label, label.reason) for label in labeled.skipped] == skipped
    masks = [image.instances.frame(0) for image in labeled if len(image)]
    assert [int(mask.sum()) for mask in masks] == [400] * len(names)
    boxes = [image.instances.boxes.tolist() for image in labeled if len(image)]
    assert boxes == [[[10, 10, 30, 30]], [[5, 5, 25, 25]]][-len(names) :]


def test_two_images_with_one_id() -> None:
    with pytest.raises(DataError, match=r"the image 'a.png' and the image 'b.png' have the same id 1"):
        read_coco(CASES / "duplicate-image-id.json")


def test_two_categories_with_one_id(folder: Path) -> None:
    path = write(folder, categories=[{"id": 1, "name": "cat"}, {"id": "1", "name": "dog"}])
    with pytest.raises(DataError, match="the category 'cat' and the category 'dog' have the same id '1'"):
        read_coco(path)


@pytest.mark.parametrize("number", ["3", 3.0, "3.0", " 3"])
def test_ids_are_compared_as_numbers(number: object, folder: Path) -> None:
    labels = [LABEL | {"image_id": number, "category_id": 7}, LABEL | {"id": 6, "image_id": 3, "category_id": str(7)}]
    for image, annotation in ((3, number), (number, 3)):
        labels = [
            LABEL | {"image_id": annotation, "category_id": "7"},
            LABEL | {"image_id": annotation, "category_id": 7.0},
        ]
        labeled = read_coco(write(folder, images=[IMAGE | {"id": image}], annotations=labels))
        assert labeled[0].instances.names == ["seven", "seven"]
        assert labeled.skipped == ()


def test_ids_may_be_texts(folder: Path) -> None:
    categories = [{"id": "b", "name": "bird"}, {"id": 2, "name": "two"}]
    path = write(folder, images=[IMAGE | {"id": "0a1"}], categories=categories, annotations=[
        LABEL | {"image_id": "0a1", "category_id": "b"}, LABEL | {"image_id": "01", "category_id": 2}
    ])  # fmt: skip
    labeled = read_coco(path)
    assert labeled.class_names == ("__background__", "two", "bird")
    assert labeled[0].instances.names == ["bird"]
    assert [label.image for label in labeled.skipped] == ["image 01"]


@pytest.mark.parametrize("number", [None, True, [1], 1.5, "", float("nan")])
def test_ids_that_cannot_be_matched_are_named(number: object, folder: Path) -> None:
    images = [IMAGE, IMAGE | {"id": number, "file_name": "b.jpg"}]
    categories = [*GOOD["categories"], {"id": number, "name": "none"}]
    annotations = [LABEL, LABEL | {"id": 6, "image_id": number}, LABEL | {"id": 7, "category_id": number}]
    labeled = read_coco(write(folder, images=images, categories=categories, annotations=annotations))
    assert labeled.objects == 1
    assert [label.label for label in labeled.skipped] == ["6", "7"]
    assert [note.partition(" is ignored")[0] for note in labeled.notes] == ["the category 'none'", "the image 'b.jpg'"]


def test_a_category_name_that_appears_twice_is_one_class(folder: Path) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    labels = [LABEL | {"category_id": number} for number in (1, 2, 3)]
    labeled = read_coco(write(folder, categories=categories, annotations=labels))
    assert labeled.class_names == ("__background__", "cat", "dog")
    assert labeled[0].instances.names == ["cat", "dog", "cat"]
    assert labeled.notes == ("2 categories have the name 'cat': they are one class",)
    assert usable(labeled, labeled.class_names).objects == 3


def test_a_split_has_no_orphans_of_the_others(folder: Path) -> None:
    (folder / "b.jpg").write_bytes(b"")
    images = [IMAGE | {"split": "train"}, IMAGE | {"id": 2, "file_name": "b.jpg", "split": "val"}]
    path = write(folder, images=images, annotations=[LABEL, LABEL | {"image_id": 2}])
    labeled = read_coco(path, split="val")
    assert ([image.name for image in labeled], labeled.objects, labeled.skipped) == (["b.jpg"], 1, ())


NFC, NFD = (unicodedata.normalize(form, "Bücher/façade.png") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("file_name", "file", "images"),
    [
        ("images/sub/x.png", "images/sub/x.png", None),
        ("images/sub/x.png", "images/sub/x.png", "images"),
        ("x.png", "data/x.png", None),
        ("sub/x.png", "data/sub/x.png", None),
        ("x.png", "pictures/x.png", "pictures"),
        ("pictures\\sub\\x.png", "pictures/sub/x.png", "pictures"),
        ("sub\\x.png", "images/sub/x.png", None),
        ("C:\\data\\train\\x.png", "train/x.png", "train"),
        ("C:\\anywhere\\x.png", "images/x.png", None),
        ("/home/somebody/coco/train/sub/x.png", "train/sub/x.png", "train"),
        ("{folder}/images/x.png", "images/x.png", "images"),
        ("../{name}/images/x.png", "images/x.png", "images"),
        ("./images/../images/x.png", "images/x.png", None),
        ("coco/train/x.png", "train/x.png", "train"),
        (NFC, NFD, None),
        (NFD, f"images/{NFC}", None),
    ],
)
def test_images_are_found_where_people_put_them(file_name: str, file: str, images: str | None, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_bytes(b"")
    name = file_name.format(folder=tmp_path, name=tmp_path.name)
    path = write(tmp_path, images=[IMAGE | {"file_name": name}])
    labeled = read_coco(path, images and tmp_path / images)
    assert [image.image for image in labeled] == [tmp_path / file]
    assert labeled.objects == 1


def test_the_first_folder_that_has_an_image_wins(tmp_path: Path) -> None:
    for name in ("a.jpg", "images/a.jpg", "images/b.jpg", "data/b.jpg", "data/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    images = [IMAGE | {"id": number, "file_name": f"{letter}.jpg"} for number, letter in enumerate("abc", start=1)]
    labeled = read_coco(write(tmp_path, images=images))
    assert [image.image for image in labeled] == [tmp_path / name for name in ("a.jpg", "images/b.jpg", "data/c.jpg")]


def test_an_image_is_never_taken_for_another_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "x.jpg").write_bytes(b"")
    names = ["train/x.jpg", "/elsewhere/val/x.jpg", "val/x.jpg"]
    images = [IMAGE | {"id": number, "file_name": name} for number, name in enumerate(names)]
    labeled = read_coco(write(tmp_path, images=images), tmp_path / "train")
    assert [(image.name, image.labels) for image in labeled.skipped_images][-1] == ("val/x.jpg", 0)
    assert len(labeled) <= 1
    reasons = [image.reason for image in labeled.skipped_images]
    assert f"it is not in {tmp_path / 'train'}" in reasons


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/hostname", "images/../../a.jpg", "..\\a.jpg", "a\0.jpg", "x" * 300])
def test_no_image_outside_of_the_folder_is_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "coco"
    folder.mkdir()
    for path in (tmp_path / "a.jpg", folder / "b.jpg"):
        path.write_bytes(b"")
    path = write(folder, images=[IMAGE | {"file_name": name}, IMAGE | {"id": 2, "file_name": "b.jpg"}])
    labeled = read_coco(path)
    assert [image.name for image in labeled] == ["b.jpg"]
    (skipped,) = labeled.skipped_images
    assert (skipped.name, skipped.labels) == (name, 1)
    assert "it is not in" in skipped.reason


def test_a_missing_size_is_read_from_the_image(folder: Path) -> None:
    Image.new("RGB", (30, 20)).save(folder / "a.jpg")
    for changes in ({"height": None}, {"height": 0, "width": 0}, {"width": "wide"}):
        labeled = read_coco(write(folder, images=[IMAGE | changes]))
        assert labeled[0].size == (20, 30)


def test_categories_may_begin_at_zero(folder: Path) -> None:
    labeled = read_coco(write(folder))
    assert labeled.class_names == ("__background__", "zero", "seven")
    assert labeled[0].instances.names == ["zero"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "names no image"),
        (
            {"images": [IMAGE | {"file_name": "sub/b.jpg"}]},
            r"none of its 1 images can be used: sub/b\.jpg: it is not in .*data",
        ),
        ({"images": [{"id": 1}]}, "it has no file_name"),
        ({"categories": None}, "not COCO's format"),
        ({"annotations": 5}, "annotations is not a list"),
        ({"images": [IMAGE | {"height": 10**6, "width": 10**6}]}, "cannot be 1000000 x 1000000 pixels"),
        ({"images": [IMAGE | {"height": 0}]}, "its header cannot be read"),
    ],
)
def test_files_that_are_not_coco(change: dict[str, object], message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(write(folder, **change))


@pytest.mark.parametrize(
    ("change", "box"),
    [
        ({"bbox": []}, [1, 1, 9, 9]),
        ({"bbox": [0, 0, 0, 0]}, [1, 1, 9, 9]),
        ({"bbox": [1, 2]}, [1, 1, 9, 9]),
        ({"bbox": [1, 1, float("nan"), 9]}, [1, 1, 9, 9]),
        ({"bbox": None}, [1, 1, 9, 9]),
        ({"bbox": ["2", "2", "5", "6"]}, [2, 2, 7, 8]),
    ],
)
def test_a_mask_gives_its_box(change: dict[str, object], box: list[int], folder: Path) -> None:
    labeled = read_coco(write(folder, annotations=[LABEL | change]))
    assert labeled[0].instances.boxes.tolist() == [box]
    assert labeled.skipped == ()


@pytest.mark.parametrize("segmentation", [[[]], [], None, [[], []]])
def test_an_object_with_a_box_only(segmentation: object, folder: Path) -> None:
    labeled = read_coco(write(folder, annotations=[LABEL | {"segmentation": segmentation}]))
    assert (labeled.objects, labeled[0].instances.masks, labeled.skipped) == (1, (None,), ())


def test_parts_that_are_invalid_cost_only_themselves(folder: Path) -> None:
    parts = [[1, 1, 9, 1], [2, 2, 8, 2, 8, 8], [1, None, 2, 3, 4, 5], "text"]
    labeled = read_coco(write(folder, annotations=[LABEL | {"segmentation": parts}]))
    assert labeled[0].instances.masks[0] is not None
    assert [label.reason.partition(":")[0] for label in labeled.skipped] == ["a part of its mask"] * 3
    labeled = read_coco(write(folder, annotations=[LABEL | {"segmentation": parts[:1]}]))
    assert (labeled.objects, labeled[0].instances.masks) == (1, (None,))
    assert len(labeled.skipped) == 1


@pytest.mark.parametrize(("value", "is_crowd"), [("0", 0), (0, 0), (False, 0), ("false", 0), ("1", 1), (1, 1), ("", 0)])
def test_crowds_that_are_texts(value: object, is_crowd: int, folder: Path) -> None:
    labeled = read_coco(write(folder, annotations=[LABEL | {"iscrowd": value}, LABEL | {"id": 6}]))
    assert labeled[0].instances.attributes[0]["iscrowd"] == is_crowd  # type: ignore[index]
    assert usable(labeled, labeled.class_names).objects == 2 - is_crowd


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmentation": 5}, "a list of polygons or an RLE, not int"),
        ({"segmentation": "text"}, "a list of polygons or an RLE, not str"),
        ({"segmentation": {"size": [20, 30], "counts": "\ud800"}}, "not in COCO's alphabet"),
        ({"segmentation": {"size": [20, 30], "counts": "oooooooooooooooooooo0"}}, "not in COCO's alphabet"),
        ({"segmentation": {"size": [20, 30], "counts": [1, 2]}}, "add up to height times width"),
        ({"segmentation": {"size": [21, 30], "counts": "0"}}, "is for an image of"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "not [20, 30]"),
        ({"bbox": [1, 1, float("nan"), 9], "segmentation": None}, "four finite numbers"),
        ({"bbox": "text", "segmentation": []}, "four numbers"),
        ({"bbox": [1, 2], "segmentation": [[1, 2, 3]]}, "four numbers"),
        ({"category_id": "zero"}, "category zero is not in the categories"),
        ({"category_id": 3}, "category 3 is not in the categories"),
        ({"image_id": [1]}, "an image that the file does not list"),
    ],
)
def test_annotations_that_are_broken_are_named(change: dict[str, object], message: str, folder: Path) -> None:
    labeled = read_coco(write(folder, annotations=[{**LABEL, **change}, {**LABEL, "id": 6}]))
    assert labeled[0].instances.ids == ("6",)
    ((label, reason),) = [(bad.label, bad.reason) for bad in labeled.skipped]
    assert label == "5"
    assert message in reason
