"""Any image to RGB, and every kind of bad image to a clear error."""

from __future__ import annotations

import io
import pickle
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maskbridge.adapter import ImageError, MaskRCNN
from maskbridge.adapter import images as reading
from maskbridge.adapter.images import read


def pixels(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format=kind, **options)
        return file.getvalue()


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_the_same_image_in_every_form(rgb: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(rgb)
    path = tmp_path / "image.png"
    image.save(path)
    forms = [path, str(path), path.read_bytes(), image, rgb, rgb / 255, torch.from_numpy(rgb).permute(2, 0, 1)]
    for form in forms:
        actual = read(form)
        actual = actual if actual.dtype == torch.uint8 else (actual * 255).round().to(torch.uint8)
        np.testing.assert_array_equal(pixels(actual), rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_browsers_do(orientation: int, rgb: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, -1),
        7: rgb.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(rgb),
    }[orientation]
    np.testing.assert_array_equal(pixels(read(encoded(Image.fromarray(rgb), "PNG", exif=exif))), turned)


def test_broken_exif_is_passed_over(rgb: np.ndarray) -> None:
    data = encoded(Image.fromarray(rgb), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert read(data).shape == (3, 12, 20)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_become_rgb(mode: str, rgb: np.ndarray) -> None:
    image = Image.fromarray(rgb).convert(mode if mode != "LAB" else "RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = read(image)
    assert actual.shape == (3, 12, 20)
    if mode in ("RGBA", "RGBX"):
        np.testing.assert_array_equal(pixels(actual), rgb)


@pytest.mark.parametrize("form", ["png", "tiff", "array"])
def test_16_bits_are_scaled_to_8(form: str) -> None:
    values = np.array([[0, 257, 65535], [128 * 257, 1000, 40000]], dtype=np.uint16)
    picture = Image.fromarray(values)
    image = values if form == "array" else encoded(picture, form.upper())
    np.testing.assert_array_equal(pixels(read(image))[:, :, 0], np.rint(values / 257).astype(np.uint8))


def test_palettes_with_transparency_need_no_warning() -> None:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = read(encoded(image, "PNG", transparency=b"\x00\x80"))
    np.testing.assert_array_equal(pixels(actual)[0, 0], [10, 20, 30])


def test_cmyk_jpegs_keep_their_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK")
    np.testing.assert_allclose(pixels(read(encoded(red, "JPEG", quality=95)))[0, 0], [200, 30, 40], atol=6)


def bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few hundred bytes."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bad_files(folder: Path, rgb: np.ndarray) -> dict[str, Path]:
    jpeg = encoded(Image.fromarray(rgb).resize((200, 200)), "JPEG")
    contents = {
        "empty.jpg": b"",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "text.jpg": b"this is not an image\n" * 20,
        "bomb.png": bomb(),
        "broken.png": encoded(Image.fromarray(rgb), "PNG")[:60] + b"\0" * 40,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    return {name: folder / name for name in [*contents, "folder.jpg", "missing.jpg"]}


REASONS = {
    "empty.jpg": "empty",
    "truncated.jpg": "truncated",
    "text.jpg": "not an image",
    "bomb.png": "bomb",
    "broken.png": "corrupt",
    "folder.jpg": "directory",
    "missing.jpg": "no such file",
}


def test_formats_that_start_other_programs_are_not_read(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="not an image"):
        read(tmp_path / "a.jpg")


def test_bad_files_name_themselves_and_leave_the_others_alone(
    rgb: np.ndarray, tmp_path: Path, bundled: MaskRCNN, astronaut: np.ndarray
) -> None:
    bad = bad_files(tmp_path, rgb)
    results = list(bundled.predict_each([astronaut, *bad.values(), astronaut], batch_size=4))
    assert len(results) == len(bad) + 2
    for index, (name, path) in enumerate(bad.items(), start=1):
        error = results[index]
        assert isinstance(error, ImageError)
        assert (error.index, error.path) == (index, str(path))
        assert REASONS[name] in str(error)
        assert str(path) in str(error)
    for result in (results[0], results[-1]):
        assert not isinstance(result, ImageError)
        assert "person" in result.names
    with pytest.raises(ImageError, match=r"image 1 .*empty\.jpg"):
        bundled.predict([astronaut, bad["empty.jpg"]])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (torch.full((3, 4, 4), float("nan")), "NaN"),
        (torch.full((3, 4, 4), 255.0), "divide by 255"),
        (torch.full((3, 4, 4), -0.1), "0..1"),
        (torch.full((3, 4, 4), float("inf")), "0..1"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "int64"),
        (torch.zeros(4, 4), r"\[C, H, W\]"),
        (torch.zeros(1, 3, 4, 4), r"\[C, H, W\]"),
        (torch.zeros(5, 4, 3), r"\[C, H, W\]"),
        (torch.zeros(3, 0, 4), "no pixels"),
        (np.zeros((3, 4, 5), dtype=np.uint8), "as a tensor"),
        (np.zeros((4, 4, 3), dtype=np.int32), "int32"),
        (np.full((4, 4, 3), 2.0), "0..1"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "no pixels"),
        (np.zeros((4, 4, 3), dtype=object), "object"),
        (b"", "empty"),
        (b"nonsense", "not an image"),
        (Image.new("I", (2, 2), 70_000), "32-bit"),
        (Image.new("F", (2, 2), 7.0), "0..1"),
        (12, "int"),
        (None, "NoneType"),
    ],
)
def test_bad_values(image: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read(image)


def test_errors_survive_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(ImageError("broken", index=3, path="a.jpg")))
    assert (str(error), error.index, error.path) == ("image 3 a.jpg: broken", 3, "a.jpg")


def test_an_image_given_is_not_changed(rgb: np.ndarray, bundled: MaskRCNN) -> None:
    array, tensor = rgb.copy(), torch.rand(3, 30, 40)
    before = tensor.clone()
    bundled.predict([array, tensor])
    np.testing.assert_array_equal(array, rgb)
    assert torch.equal(tensor, before)


def test_a_list_is_read_one_chunk_ahead_and_an_iterator_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    read_two = threading.Event()

    def read_one(image: int) -> int:
        taken.append(image)
        if len(taken) == 2:
            read_two.set()
        return image

    monkeypatch.setattr(reading, "read", read_one)
    ahead = reading.read_each([0, 1, 2], 1)  # type: ignore[list-item]
    assert next(ahead) == [0]
    assert read_two.wait(600)
    assert list(ahead) == [[1], [2]]
    taken.clear()
    lazily = reading.read_each(iter([0, 1, 2]), 1)  # type: ignore[list-item]
    assert next(lazily) == [0]
    assert taken == [0]
    ahead.close()
