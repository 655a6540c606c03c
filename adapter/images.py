"""Reads any image as an RGB tensor, oriented as browsers show it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from maskbridge.adapter import bit_depth
from maskbridge.adapter.errors import ImageError
from maskbridge.adapter.optional_dependencies import install_command

T = TypeVar("T")

ImageInput: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | torch.Tensor"
"""What `read` takes: a path, a file's bytes, a PIL image, an array or a tensor."""

MAX_PIXELS = 178_956_970
"""Images with more pixels are rejected as decompression bombs: the limit at which Pillow raises an error."""

HEIF_ENDINGS = {".heic", ".heics", ".heif", ".heifs", ".hif"}

_FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "HEIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
)


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the supported file formats: none, like EPS, for which Pillow runs another program."""
    Image.init()
    with contextlib.suppress(ImportError):  # the extra "heif"
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def file_endings() -> set[str]:
    """The file endings of the supported formats: ``.jpg``, …."""
    supported = formats()  # first, since it may register one
    return {ending for ending, name in Image.registered_extensions().items() if name in supported}


def missing_format(path: str | os.PathLike[str]) -> str | None:
    """What to install to read a file, by its ending; None if nothing is missing.

    Example:
        >>> missing_format("a.jpg") is None
        True
    """
    if Path(path).suffix.lower() in HEIF_ENDINGS and "HEIF" not in formats():
        return f"HEIC and HEIF images need a package: {install_command('heif')}"
    return None


def read(image: ImageInput) -> torch.Tensor:
    """Turns an image into an RGB tensor, with its EXIF orientation applied.

    Files, bytes and PIL images may be gray, palette, RGBA (alpha is dropped, as by PIL's ``convert("RGB")``), CMYK or
    16-bit (scaled to 8 bits, by the depth that a PNG or TIFF states). If a file has several frames, the first is read.

    Args:
        image: a path; a file's bytes; a PIL image; a [H, W] or [H, W, 1 | 3 | 4] array, uint8 in 0..255, uint16 in
            0..65535 or float in 0..1; a [C, H, W] tensor with C of 1, 3 or 4, uint8 in 0..255 or float in 0..1.

    Returns:
        [3, H, W] on the CPU (a tensor stays on its device): float32 in 0..1 for float arrays and tensors, else uint8 in
        0..255.

    Raises:
        ImageError: the image cannot be read, is too large, or has an invalid shape, type or range.

    Example:
        >>> read(np.zeros((20, 30), dtype=np.uint8)).shape
        torch.Size([3, 20, 30])
    """
    if isinstance(image, torch.Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _from_pil(image, path=None)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _from_file(bytes(image))
    if isinstance(image, (str, os.PathLike)):
        return _from_file(Path(image))
    raise ImageError(f"an image is a path, bytes, a PIL image, an array or a tensor, not {type(image).__name__}")


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The (H, W) of the tensor that `read` returns, from the file's header alone.

    Raises:
        ImageError: the file does not exist, or its header cannot be read.
    """
    try:
        with Image.open(path, formats=formats()) as image:
            is_rotated = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if is_rotated else (image.height, image.width)
    except FileNotFoundError:
        raise ImageError("no such file", path=str(path)) from None
    except Exception as error:  # see _from_file
        raise ImageError(f"its header cannot be read ({type(error).__name__})", path=str(path)) from None


def as_float(image: torch.Tensor) -> torch.Tensor:
    """Converts a [3, H, W] tensor of `read` to a new float32 tensor in 0..1 (uint8 / 255, as in torchvision)."""
    # Contiguous, as from torchvision's own transforms: how interpolation rounds depends on the memory layout.
    image_float = image.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return image_float.div_(255) if image.dtype == torch.uint8 else image_float


def as_list(images: ImageInput | Iterable[ImageInput]) -> Iterable[ImageInput]:
    """Wraps a single image in a list; several images are returned as they are."""
    is_single = isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, torch.Tensor))
    return [images] if is_single or hasattr(images, "getexif") else images  # type: ignore[list-item, return-value]


def read_each(images: Iterable[ImageInput], size: int) -> Iterator[list[torch.Tensor | ImageError]]:
    """Reads images lazily, in chunks of ``size``; an invalid image gives an error with its index instead of a tensor.

    A list is read one chunk ahead, in a thread, while the caller works; from an iterator nothing is taken ahead.
    """
    numbered = enumerate(images)
    chunks = iter(lambda: list(islice(numbered, size)), [])
    if not isinstance(images, Sequence):
        yield from map(_read_chunk, chunks)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read") as thread:
        pending = [thread.submit(_read_chunk, chunk) for chunk in islice(chunks, 1)]
        while pending:
            tensors = pending.pop().result()
            pending += [thread.submit(_read_chunk, chunk) for chunk in islice(chunks, 1)]
            yield tensors


def all_or_raise(results: Iterable[T | ImageError]) -> list[T]:
    """Returns the results of all images, or raises the first error among them."""
    checked = []
    for result in results:
        if isinstance(result, ImageError):
            raise result
        checked.append(result)
    return checked


def _read_chunk(chunk: Iterable[tuple[int, ImageInput]]) -> list[torch.Tensor | ImageError]:
    return [_read_or_error(index, image) for index, image in chunk]


def _read_or_error(index: int, image: ImageInput) -> torch.Tensor | ImageError:
    try:
        return read(image)
    except ImageError as error:
        return ImageError(error.reason, index=index, path=error.path)


def _from_file(source: Path | bytes) -> torch.Tensor:
    path = str(source) if isinstance(source, Path) else None
    if isinstance(source, Path):
        if source.is_dir():
            raise ImageError("is a directory, not an image", path=path)
        if not source.exists():
            raise ImageError("no such file", path=path)
        if not source.is_file():
            raise ImageError("is not a regular file", path=path)
    try:
        if isinstance(source, Path):
            with source.open("rb") as file, Image.open(file, formats=formats()) as image:
                return _from_pil(image, path=path)
        with Image.open(io.BytesIO(source), formats=formats()) as image:
            return _from_pil(image, path=None)
    except ImageError:
        raise
    except UnidentifiedImageError:
        is_empty = not source if isinstance(source, bytes) else source.stat().st_size == 0
        missing = missing_format(path) if path else None
        reason = "the file is empty" if is_empty else missing or "not an image in a supported format"
        raise ImageError(reason, path=path) from None
    except Image.DecompressionBombError:
        raise ImageError(f"more than {MAX_PIXELS:,} pixels: rejected as a decompression bomb", path=path) from None
    except Exception as error:  # on corrupt bytes decoders raise almost anything: OSError, SyntaxError, …
        raise ImageError(f"the image is corrupt: {error}", path=path) from error


def _from_pil(image: Image.Image, *, path: str | None) -> torch.Tensor:
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise ImageError(f"{size} is more than {MAX_PIXELS:,} pixels: rejected as a decompression bomb", path=path)
    if image.width == 0 or image.height == 0:
        raise ImageError("the image has no pixels", path=path)
    try:
        maximum, deep = bit_depth.stated_maximum(image), bit_depth.is_deep(image)
        if maximum is not None and image.mode in ("RGB", "RGBA"):
            image = bit_depth.read_deep_colors(image, maximum)
        image.load()
    except Exception as error:  # see _from_file
        raise ImageError(f"the image is corrupt: {error}", path=path) from error
    pixels = np.array(_upright_rgb(image, maximum, path), dtype=np.uint8)
    if deep and maximum is None and image.mode in ("RGB", "RGBA"):
        bit_depth.warn_if_dark(int(pixels.max()), 255, path or "an image")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _upright_rgb(image: Image.Image, maximum: int | None, path: str | None) -> Image.Image:
    with contextlib.suppress(Exception):  # corrupt EXIF: browsers too show the image as it is stored
        image = ImageOps.exif_transpose(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("32-bit integer images are not images: convert to 8 or 16 bits", path=path)
        return Image.fromarray(bit_depth.to_8_bits(values, maximum, path or "an image")).convert("RGB")
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ImageError("float images must be in 0..1, without NaN", path=path)
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray) -> torch.Tensor:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        shape = list(array.shape)
        raise ImageError(f"arrays are [H, W] or [H, W, 1 | 3 | 4], not {shape}; pass a [C, H, W] image as a tensor")
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"arrays are uint8 in 0..255, uint16 in 0..65535 or float in 0..1, not {array.dtype}")
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
    # A copy: the caller's array may be read-only, have negative strides, or change while a batch waits.
    return _from_tensor(torch.from_numpy(np.array(array, order="C")).permute(2, 0, 1))


def _from_tensor(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise ImageError(f"tensors are [C, H, W] with C of 1, 3 or 4, not {list(tensor.shape)}")
    if tensor.shape[1] == 0 or tensor.shape[2] == 0:
        raise ImageError(f"the image has no pixels: {list(tensor.shape)}")
    if tensor.shape[1] * tensor.shape[2] > MAX_PIXELS:
        raise ImageError(f"{list(tensor.shape)} has more than {MAX_PIXELS:,} pixels")
    if tensor.dtype != torch.uint8:
        if not tensor.is_floating_point():
            raise ImageError(f"tensors are uint8 in 0..255 or float in 0..1, not {tensor.dtype}")
        low, high = (value.item() for value in torch.aminmax(tensor.detach()))
        if not (low >= 0 and high <= 1):
            raise ImageError(f"float images must be in 0..1, without NaN, not {low:.4g} to {high:.4g} (divide by 255?)")
        tensor = tensor.detach().to(torch.float32)
    return tensor.expand(3, -1, -1) if tensor.shape[0] == 1 else tensor[:3]
