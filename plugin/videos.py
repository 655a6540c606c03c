"""The frames of videos as they are shown: upright, with FiftyOne's numbers, and with what is missing or damaged named.

FiftyOne reads videos through eta, which hands over the pixels of a turned video in its unturned shape, and ends without an
error where a file is cut off or has no frames. Frames are read with PyAV instead.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import av
import eta.core.frameutils as etaf
import eta.core.video as etav
import numpy as np
from av.error import FFmpegError

from maskbridge.adapter import ImageError

_ORIGINAL = etav.FFmpegVideoReader
DURATION_TOLERANCE = 2.5
"""Frames by which a stream without a frame count may end before its stated duration."""


def read_frames(path: str | os.PathLike[str]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a video with their numbers, from 1 in the order in which they are shown, as FiftyOne counts them.

    Args:
        path: a video file.

    Yields:
        The number, and the frame as RGB uint8 [H, W, 3], turned as the file says (by a display matrix, or the older tag
        ``rotate``). Damaged frames are left as the decoder conceals them, like ffmpeg does.

    Raises:
        ImageError: at its end, if the video has no readable frame, ends before its own count or duration, or has damaged
            frames. All readable frames have been given before.

    Example:
        >>> list(read_frames("nosuch.mp4"))
        Traceback (most recent call last):
        maskbridge.adapter.errors.ImageError: nosuch.mp4: the video cannot be read (No such file or directory)
    """
    path = os.fspath(path)
    try:
        container = av.open(path)
    except (FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"the video cannot be read ({getattr(error, 'strerror', None) or error})", path=path) from None
    with container:
        streams = [
            stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise ImageError("the file has no video stream", path=path)
        yield from _frames(container, streams[0], path)


def _frames(container: Any, stream: Any, path: str) -> Iterator[tuple[int, np.ndarray]]:
    stream.thread_type = "SLICE"  # with threads for frames, errors come late, and take good frames with them
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    tag_turns = round(float(tags.get("rotate", 0))) // 90
    number = packets = 0
    damaged: list[int] = []
    end = 0.0
    for packet in _packets(container, stream):
        if packet is not None:
            packets += 1
            if packet.pts is not None:
                end = max(end, float((packet.pts - (stream.start_time or 0)) * stream.time_base))
        try:
            decoded = stream.codec_context.decode(packet)
        except EOFError:
            break
        except FFmpegError:
            damaged.append(number + 1)
            continue
        for frame in decoded:
            number += 1
            if frame.is_corrupt or (packet is not None and packet.is_corrupt):
                damaged.append(number)
            # The matrix turns counterclockwise, as numpy does; the tag says how far to turn clockwise.
            turns = frame.rotation // 90 if frame.rotation else -tag_turns
            yield number, np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    if number == 0:
        raise ImageError("the video has no readable frames", path=path)
    if stream.frames and packets < stream.frames:
        raise ImageError(f"the video ends after {number} of {stream.frames} frames", path=path)
    if not stream.frames and (duration := _duration(container, stream)) and stream.average_rate:
        missing = (duration - end) * float(stream.average_rate) - 1
        if missing > DURATION_TOLERANCE:
            raise ImageError(f"the video ends after {end:.1f} of {duration:.1f} seconds ({number} frames)", path=path)
    if damaged:
        raise ImageError(f"the video is damaged: {len(damaged)} of its frames, from number {damaged[0]} on", path=path)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, then None for each time that the decoder is asked for frames it holds back.

    A broken end is an end. A decoder that is asked gives what precedes its next error, so it is asked until it has nothing.
    """
    with contextlib.suppress(FFmpegError):
        yield from (packet for packet in container.demux(stream) if packet.size)
    while True:
        yield None


def _duration(container: Any, stream: Any) -> float:
    """The stated seconds of a stream, 0 if they are not: Matroska has them in a tag, or for the whole file."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if text := stream.metadata.get("DURATION"):
        hours, minutes, seconds = (float(part) for part in text.split(":"))
        return hours * 3600 + minutes * 60 + seconds
    only = len(container.streams) == 1
    return container.duration / av.time_base if only and container.duration else 0.0


_on_error: ContextVar[Callable[[ImageError], None] | None] = ContextVar("on_error", default=None)
_swapped = threading.Lock()
_users = 0


class _Reader:
    """What FiftyOne uses of eta's ``FFmpegVideoReader``, on `read_frames`: an iterator with ``frame_number``."""

    def __init__(self, inpath: str, frames: Any = None) -> None:
        self._path, self.frame_number = inpath, 0
        self._numbers = None if frames is None else set(etaf.parse_frame_ranges(frames))

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __iter__(self) -> Iterator[np.ndarray]:
        last = max(self._numbers) if self._numbers else None
        try:
            for number, image in read_frames(self._path):
                self.frame_number = number
                if self._numbers is None or number in self._numbers:
                    yield image
                if number == last:
                    return
        except ImageError as error:
            if (report := _on_error.get()) is None:
                raise
            report(error)


@contextlib.contextmanager
def fiftyone_reads_upright(on_error: Callable[[ImageError], None]) -> Iterator[None]:
    """While it lasts, FiftyOne's own functions read videos with `read_frames`.

    Args:
        on_error: called in this thread with what is wrong with a video, after its readable frames.

    Example:
        >>> with fiftyone_reads_upright(print), etav.FFmpegVideoReader("nosuch.mp4") as reader:
        ...     frames = list(reader)
        nosuch.mp4: the video cannot be read (No such file or directory)
    """
    global _users
    outer = _on_error.get()
    _on_error.set(on_error)
    with _swapped:
        _users += 1
        if _users == 1:
            etav.FFmpegVideoReader = _Reader
    try:
        yield
    finally:
        _on_error.set(outer)  # not reset(), which fails in a context other than the one of set()
        with _swapped:
            _users -= 1
            if _users == 0:
                etav.FFmpegVideoReader = _ORIGINAL
