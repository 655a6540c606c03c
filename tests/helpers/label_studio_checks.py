"""A stricter check of results than Label Studio's: what would look wrong, or be dropped, in its editor."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from label_studio_sdk.converter import brush
from PIL import Image


def check_result(result: Sequence[Mapping[str, Any]], labels: set[str]) -> None:
    assert len({region["id"] for region in result}) == len(result)
    for region in result:
        check_region(region, labels)


def check_region(region: Mapping[str, Any], labels: set[str]) -> None:
    """Sizes, places inside the image, labels of the config, finite numbers."""
    kind, value = region["type"], region["value"]
    height, width = region["original_height"], region["original_width"]
    assert height > 0
    assert width > 0
    assert region["image_rotation"] == 0
    assert 0 <= region["score"] <= 1
    assert len(value[kind]) == 1
    assert value[kind][0] in labels
    if kind == "polygonlabels":
        points = np.array(value["points"])
        assert points.shape[0] >= 3
        assert points.shape[1] == 2
        assert np.isfinite(points).all()
        assert (points >= 0).all()
        assert (points <= 100).all()
    elif kind == "vectorlabels":
        vertices = value["vertices"]
        assert value["closed"] is True
        assert len(vertices) >= 3
        assert len({vertex["id"] for vertex in vertices}) == len(vertices)
        assert [vertex["prevPointId"] for vertex in vertices] == ["", *(vertex["id"] for vertex in vertices[:-1])]
        assert all(0 <= vertex[side] <= 100 for vertex in vertices for side in ("x", "y"))
    elif kind == "rectanglelabels":
        x, y, across, down = (value[side] for side in ("x", "y", "width", "height"))
        assert all(map(math.isfinite, (x, y, across, down)))
        assert 0 <= x < x + across <= 100
        assert 0 <= y < y + down <= 100
    elif kind == "brushlabels" or kind == "bitmasklabels":
        assert mask_of(region).any()
    else:
        raise AssertionError(kind)


def mask_of(region: Mapping[str, Any]) -> np.ndarray:
    """A brush or bitmask region as bool [H, W], decoded by other people's code."""
    height, width = region["original_height"], region["original_width"]
    if region["type"] == "brushlabels":
        values = brush.decode_rle(region["value"]["rle"])
        assert set(np.unique(values)) <= {0, 255}
        return values.reshape(height, width, 4)[:, :, 3] > 0
    head, _, body = region["value"]["imageDataURL"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.size == (width, height)
        colors = np.asarray(image.convert("RGBA"))
    assert set(np.unique(colors[:, :, 3])) <= {0, 255}
    assert not colors[:, :, :3].any()  # black
    return colors[:, :, 3] > 0
