"""Images of 10 and 12 bits in 16-bit files, and HEIC."""

from __future__ import annotations

import io
import logging
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from maskbridge.adapter import ImageError
from maskbridge.adapter.images import read, read_size

RAMP = np.linspace(0, 4095, 40 * 60).reshape(40, 60).astype(np.uint16)
EXPECTED = np.rint(RAMP.astype(np.float32) * (255 / 4095)).astype(np.uint8)


def png(pixels: np.ndarray, bits: int | None) -> bytes:
    """A 16-bit PNG, with ``sBIT``."""
    ok, encoded = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    assert ok
    data = encoded.tobytes()
    if bits is None:
        return data
    body = b"sBIT" + bytes([bits] * (1 if pixels.ndim == 2 else 3))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]  # after the signature and IHDR


def tiff(pixels: np.ndarray, tag: int | None, value: int) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if tag is not None:
        tags[tag] = value
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="TIFF", tiffinfo=tags)
    return file.getvalue()


@pytest.mark.parametrize("data", [png(RAMP, 12), tiff(RAMP, 281, 4095), tiff(RAMP, 341, 4095)], ids=["sBIT", "Max", "SMax"])
def test_gray_images_of_12_bits(data: bytes) -> None:
    tensor = read(data)
    assert tensor.shape == (3, 40, 60)
    np.testing.assert_array_equal(tensor[0].numpy(), EXPECTED)


def test_gray_images_of_10_bits() -> None:
    assert read(png(RAMP // 4, 10)).max() == 255
    assert read(png(RAMP // 4, 10)).float().mean() == pytest.approx(127.5, abs=0.5)


def test_colors_of_12_bits(tmp_path: Path) -> None:
    colors = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 2048)], axis=2)
    (tmp_path / "colors.png").write_bytes(png(colors, 12))
    tensor = read(tmp_path / "colors.png")
    np.testing.assert_array_equal(tensor[0].numpy(), EXPECTED)
    np.testing.assert_array_equal(tensor[1].numpy(), EXPECTED[::-1])
    assert (tensor[2] == 128).all()
    assert read_size(tmp_path / "colors.png") == (40, 60)


def test_a_png_whose_samples_are_of_the_full_range() -> None:
    """As PNG's specification has it: 12 significant bits, scaled up to 16."""
    np.testing.assert_array_equal(read(png(RAMP << 4, 12))[0].numpy(), read(png(RAMP << 4, None))[0].numpy())


@pytest.mark.parametrize("colors", [False, True])
def test_an_image_that_comes_out_nearly_black_is_named(
    colors: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "dark.png"
    path.write_bytes(png(np.stack([RAMP] * 3, axis=2) if colors else RAMP, None))
    with caplog.at_level(logging.WARNING):
        assert read(path).max() <= 16
    (record,) = caplog.records
    assert f"{path}: nearly black" in record.getMessage()
    caplog.clear()
    for bright in (png(RAMP << 4, None), png(RAMP, 12)):
        path.write_bytes(bright)
        read(path)
    assert caplog.records == []


def test_heic(tmp_path: Path, astronaut: np.ndarray) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.fromarray(astronaut).save(tmp_path / "a.heic", quality=95)
    tensor = read(tmp_path / "a.heic")
    assert abs(tensor.permute(1, 2, 0).numpy().astype(int) - astronaut).mean() < 4


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from command_line import maskbridge
    from maskbridge.adapter import images

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(images, "formats", lambda: ("JPEG", "PNG"))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    with pytest.raises(ImageError, match=r"pip install .*\[heif\]"):
        read(tmp_path / "a.heic")
    done = maskbridge("check", tmp_path)
    assert done.returncode == 3
    assert "image skipped: a.heic (0 labels): HEIC and HEIF images need a package: pip install" in done.stdout
