"""Label Studio's run lengths: masks as rle-pack of an RGBA picture, and back.

The format is that of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack, a stream of bits: 32 for the
number of values, 5 for the bits of a value less 1, four times 4 for the sizes (less 1) that a length can have; then, until
all values are told, 1 for a run, 2 to choose the size, the length less 1, and the value; or 0 for single values, 2 to
choose the size, their number less 1, and the values. A mask is a picture of H x W pixels with four values each, 255
on the object and 0 elsewhere.
"""

from __future__ import annotations

import numpy as np

from maskbridge.adapter.coco import AnnotationError
from maskbridge.adapter.masks import MaskCrop, crop_of_frame

SIZES = np.array([3, 4, 8, 16])
_CHANNELS = 4
_VALUE_BITS = 8
_LONGEST = 1 << 16


def encode(crop: MaskCrop, size: tuple[int, int]) -> bytes:
    """A crop as rle-pack of the full picture of ``size`` (H, W), made from its runs without making that picture.

    The bytes are those that ``label_studio_sdk.converter.brush`` makes of the picture (which adds an empty byte where the
    bits end with a byte).

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
    """The mask in rle-pack's bytes, whoever made them: pixels of which the last value (alpha) is 128 or more.

    Raises:
        AnnotationError: the bytes end too early, or are not for an image of ``size`` (H, W).
    """
    lengths, values = _parsed(data, size[0] * size[1] * _CHANNELS)
    alpha = np.repeat(values >= 128, lengths)[_CHANNELS - 1 :: _CHANNELS]
    return crop_of_frame(alpha.reshape(size))


def _pieces(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of pixels as runs of values, none empty, none longer than the format can say: (lengths, values)."""
    values = np.where(np.arange(len(runs)) % 2 == 1, 255, 0)
    lengths, values = runs[runs > 0] * _CHANNELS, values[runs > 0]
    counts = -(-lengths // _LONGEST)
    last = np.cumsum(counts) - 1
    pieces = np.full(int(counts.sum()), _LONGEST)
    pieces[last] = lengths - (counts - 1) * _LONGEST
    return pieces, np.repeat(values, counts)


def _packed(codes: np.ndarray, bits: np.ndarray) -> bytes:
    """Numbers, each in its own count of bits (the highest first), one after the other."""
    ends = np.cumsum(bits)
    # In the high bits of a word each, so that shifting by the place within a number brings its bit to the top.
    words = (codes << (32 - bits)).astype(np.uint32)
    place = np.arange(ends[-1], dtype=np.uint32) - np.repeat((ends - bits).astype(np.uint32), bits)
    return np.packbits((np.repeat(words, bits) << place).view(np.int32) < 0).tobytes()


def _parsed(data: bytes, expected: int) -> tuple[np.ndarray, np.ndarray]:
    """The runs in the bytes: (lengths, values), lengths adding up to ``expected``."""
    stream, place, total = data + bytes(8), 53, len(data) * 8

    def read(at: int, count: int) -> int:
        word = int.from_bytes(stream[at >> 3 : (at >> 3) + 8], "big")
        return word >> (64 - (at & 7) - count) & ((1 << count) - 1)

    if total < place or read(0, 32) != expected:
        raise AnnotationError(f"its run lengths are for {read(0, 32) if total >= 32 else 'no'} values, not {expected}")
    value_bits = read(32, 5) + 1
    sizes = [read(37 + 4 * index, 4) + 1 for index in range(4)]
    lengths: list[int] = []
    values: list[int] = []
    done = 0
    while done < expected and place < total:
        size = sizes[read(place + 1, 2)]
        length = read(place + 3, size) + 1
        is_run = read(place, 1)
        place += 3 + size
        if is_run:
            lengths.append(length)
            values.append(read(place, value_bits))
            place += value_bits
        else:
            count = min(length, expected - done)
            if place + count * value_bits > total:
                break
            lengths.extend([1] * count)
            values.extend(read(place + index * value_bits, value_bits) for index in range(count))
            place += count * value_bits
        done += length
    if done != expected or place > total:
        raise AnnotationError("its run lengths end too early or tell too much")
    return np.array(lengths), np.array(values)
