"""Label Studio's run lengths: masks as rle-pack of an RGBA image, and back.

The format is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, a stream of bits. The header has
32 bits for the number of values, 5 bits for the bits per value minus 1, and four times 4 bits for the sizes (minus 1) that
a length can have. Then follow, until all values are coded, either runs (bit 1, 2 bits for the index of the size, the length
minus 1, the value) or single values (bit 0, 2 bits for the index of the size, their number minus 1, the values). A mask is
an image of H x W pixels with four values each, 255 on the object and 0 elsewhere.
"""

from __future__ import annotations

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.masks import MaskCrop, crop_of_frame

SIZES = np.array([3, 4, 8, 16])
_CHANNELS = 4
_VALUE_BITS = 8
_MAX_RUN = 1 << 16


def encode(crop: MaskCrop, size: tuple[int, int]) -> bytes:
    """A crop as rle-pack of the full image of ``size`` (H, W), computed from its runs without building that image.

    The bytes are those of ``label_studio_sdk.converter.brush`` for the full image; the SDK appends an empty byte if the
    last bit ends a byte.

    Example:
        >>> encode(MaskCrop(0, 0, np.ones((1, 1), dtype=bool)), (1, 1)).hex()
        '00000004391bfc7fe0'
    """
    lengths, values = _pieces(crop.run_lengths(size))
    choice = np.searchsorted(1 << SIZES, lengths)
    codes = (((4 | choice) << SIZES[choice] | (lengths - 1)) << _VALUE_BITS) | values
    bits = 3 + SIZES[choice] + _VALUE_BITS
    header = np.array([size[0] * size[1] * _CHANNELS, _VALUE_BITS - 1, *(SIZES - 1)])
    return _packed(np.concatenate([header, codes]), np.concatenate([[32, 5, 4, 4, 4, 4], bits]))


def decode(data: bytes, size: tuple[int, int]) -> MaskCrop:
    """The mask in rle-pack bytes of any encoder: the pixels with an alpha value (the last of four) of at least 128.

    Raises:
        AnnotationError: the run lengths are too short or too long, or not for an image of ``size`` (H, W).
    """
    lengths, values = _parsed(data, size[0] * size[1] * _CHANNELS)
    alpha = np.repeat(values >= 128, lengths)[_CHANNELS - 1 :: _CHANNELS]
    return crop_of_frame(alpha.reshape(size))


def _pieces(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of pixels as runs of values, none empty, none longer than the format allows: (lengths, values)."""
    values = np.where(np.arange(len(runs)) % 2 == 1, 255, 0)
    lengths, values = runs[runs > 0] * _CHANNELS, values[runs > 0]
    counts = -(-lengths // _MAX_RUN)
    last = np.cumsum(counts) - 1
    pieces = np.full(int(counts.sum()), _MAX_RUN)
    pieces[last] = lengths - (counts - 1) * _MAX_RUN
    return pieces, np.repeat(values, counts)


def _packed(codes: np.ndarray, bits: np.ndarray) -> bytes:
    """The codes as bytes, each code with its own number of bits, highest bit first."""
    ends = np.cumsum(bits)
    # Each code is in the high bits of a word, so that a shift by the index of a bit brings that bit to the top.
    words = (codes << (32 - bits)).astype(np.uint32)
    index = np.arange(ends[-1], dtype=np.uint32) - np.repeat((ends - bits).astype(np.uint32), bits)
    return np.packbits((np.repeat(words, bits) << index).view(np.int32) < 0).tobytes()


def _parsed(data: bytes, expected: int) -> tuple[np.ndarray, np.ndarray]:
    """The runs in the bytes: (lengths, values), lengths adding up to ``expected``."""
    stream, position, total = data + bytes(8), 53, len(data) * 8

    def read(at: int, count: int) -> int:
        word = int.from_bytes(stream[at >> 3 : (at >> 3) + 8], "big")
        return word >> (64 - (at & 7) - count) & ((1 << count) - 1)

    if total < position or read(0, 32) != expected:
        raise AnnotationError(f"its run lengths are for {read(0, 32) if total >= 32 else 'no'} values, not {expected}")
    value_bits = read(32, 5) + 1
    sizes = [read(37 + 4 * index, 4) + 1 for index in range(4)]
    lengths: list[int] = []
    values: list[int] = []
    done = 0
    while done < expected and position < total:
        size = sizes[read(position + 1, 2)]
        length = read(position + 3, size) + 1
        is_run = read(position, 1)
        position += 3 + size
        if is_run:
            lengths.append(length)
            values.append(read(position, value_bits))
            position += value_bits
        else:
            count = min(length, expected - done)
            if position + count * value_bits > total:
                break
            lengths.extend([1] * count)
            values.extend(read(position + index * value_bits, value_bits) for index in range(count))
            position += count * value_bits
        done += length
    if done != expected or position > total:
        raise AnnotationError("its run lengths are too short or too long")
    return np.array(lengths), np.array(values)
