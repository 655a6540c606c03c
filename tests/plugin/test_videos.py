"""Videos: frames upright and counted as ffprobe counts them; what is missing or damaged is a failure with its reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import av
import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from maskbridge.adapter import ImageError
from maskbridge.plugin.model import MaskRCNNModel
from maskbridge.plugin.videos import read_frames
from plugin_operators import FAST, operator

FFMPEG = ("ffmpeg", "-loglevel", "error", "-y")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A folder of videos of a person, as phones and broken downloads make them."""
    if shutil.which("ffmpeg") is None:
        assert not os.environ.get("CI"), "CI installs ffmpeg"
        pytest.skip("FiftyOne reads videos with ffmpeg, which is not installed")
    folder = tmp_path_factory.mktemp("videos")
    Image.fromarray(astronaut).save(folder / "a.png")

    def make(name: str, *options: str) -> None:
        subprocess.run([*FFMPEG, *options, name], check=True, cwd=folder)

    encode = ("-pix_fmt", "yuv420p", "-c:v", "libx264")
    moving = "scale=320:320,crop=320:240:0:t*20"
    make("plain.mp4", "-loop", "1", "-i", "a.png", "-t", "1", "-r", "10", "-vf", moving, *encode)
    for turn in (90, 180, 270):
        make(f"matrix-{turn}.mp4", "-i", "plain.mp4", "-c", "copy", "-metadata:s:v:0", f"rotate={turn}")
        with av.open(folder / "plain.mp4") as source, av.open(folder / f"tag-{turn}.mkv", "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            stream.metadata["rotate"] = str(turn)
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    make("variable-rate.mp4", "-i", "plain.mp4", "-vf", "select='not(mod(n,3))+lt(n,4)'", "-vsync", "vfr", *encode)
    make("odd.mp4", "-i", "plain.mp4", "-vf", "scale=321:243", "-pix_fmt", "yuv444p", "-c:v", "libx264")
    make("one.mp4", "-i", "plain.mp4", "-frames:v", "1", *encode)
    make("trimmed.mp4", "-ss", "0.35", "-i", "plain.mp4", "-c", "copy")
    make("audio.mp4", "-f", "lavfi", "-i", "sine=d=1")
    make(
        "cover.mp3",
        "-f",
        "lavfi",
        "-i",
        "sine=d=1",
        "-i",
        "a.png",
        "-map",
        "0",
        "-map",
        "1",
        "-disposition:v",
        "attached_pic",
    )
    make("long.mp4", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3", *encode, "-movflags", "faststart")
    make("long.mkv", "-i", "long.mp4", "-c", "copy")
    make("end.mp4", "-i", "long.mp4", "-c", "copy")
    for name in ("long.mp4", "long.mkv", "end.mp4"):
        data = (folder / name).read_bytes()
        (folder / f"half-{name}").write_bytes(data[: len(data) // 2])
        middle, length = len(data) // 2, len(data) // 10
        (folder / f"over-{name}").write_bytes(data[:middle] + bytes(length) + data[middle + length :])
    (folder / "text.mp4").write_text("no video")
    return folder


def read(path: Path) -> tuple[list[np.ndarray], str]:
    """The frames, and the error at their end."""
    frames: list[np.ndarray] = []
    try:
        for number, frame in read_frames(path):
            frames.append(frame)
            assert number == len(frames)
    except ImageError as error:
        return frames, error.reason
    return frames, ""


def ffmpeg_frames(path: Path) -> list[np.ndarray]:
    """What ffmpeg shows: upright, each frame once."""
    done = subprocess.run(
        [*FFMPEG, "-i", path, "-vsync", "0", "-f", "image2pipe", "-vcodec", "ppm", "-"], capture_output=True
    )
    frames, data = [], done.stdout
    while data:
        magic, size, depth, rest = data.split(b"\n", 3)
        assert (magic, depth) == (b"P6", b"255")
        width, height = map(int, size.split())
        frames.append(np.frombuffer(rest[: width * height * 3], np.uint8).reshape(height, width, 3))
        data = rest[width * height * 3 :]
    return frames


GOOD = ["plain.mp4", *(f"matrix-{turn}.mp4" for turn in (90, 180, 270)), "variable-rate.mp4", "odd.mp4", "one.mp4",
        "trimmed.mp4", "long.mp4", "long.mkv"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_frames_are_those_that_ffmpeg_shows(name: str, videos: Path) -> None:
    frames, error = read(videos / name)
    expected = ffmpeg_frames(videos / name)
    assert error == ""
    assert len(frames) == len(expected) > 0
    for frame, other in zip(frames, expected):
        np.testing.assert_array_equal(frame, other)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_the_older_tag_turns_clockwise(turn: int, videos: Path) -> None:
    (plain, _), (turned, error) = read(videos / "plain.mp4"), read(videos / f"tag-{turn}.mkv")
    assert error == ""
    np.testing.assert_array_equal(turned[0], np.rot90(plain[0], -turn // 90))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("audio.mp4", "the file has no video stream"),
        ("cover.mp3", "the file has no video stream"),
        ("text.mp4", "the video cannot be read (Invalid data"),
        ("half-end.mp4", "the video cannot be read (Invalid data"),
        ("half-long.mp4", "the video ends after"),
        ("half-long.mkv", "the video ends after"),
        ("over-long.mp4", "the video is damaged: "),
        ("over-long.mkv", "the video "),
        ("over-end.mp4", "the video is damaged: "),
        ("nosuch.mp4", "the video cannot be read (No such file or directory)"),
    ],
)
def test_what_is_missing_or_damaged_is_named_after_the_readable_frames(name: str, reason: str, videos: Path) -> None:
    frames, error = read(videos / name)
    assert error.startswith(reason)
    assert "\n" not in error
    if name.startswith(("half-long", "over")):
        assert len(frames) == len(ffmpeg_frames(videos / name)) > 5


def test_apply_model_and_the_operator_detect_the_same_upright_people(
    dataset: fo.Dataset, videos: Path, bundled: object
) -> None:
    names = ["plain.mp4", "matrix-90.mp4", "half-long.mp4", "audio.mp4"]
    dataset.add_samples([fo.Sample(str(videos / name)) for name in names], progress=False)
    model = MaskRCNNModel(bundled, confidence_threshold=0.5)
    dataset.apply_model(model, label_field="frames.applied", batch_size=4, progress=False)
    report = operator("segment_instances")(dataset, "predicted", batch_size=4, **FAST)
    assert (report["state"], report["failed"]) == ("completed", 2)
    assert [(Path(str(failure.path)).name, failure.reason) for failure in model.failures] == [
        ("half-long.mp4", read(videos / "half-long.mp4")[1]),
        ("audio.mp4", "the file has no video stream"),
    ]
    for sample in dataset:
        expected = len(read(Path(sample.filepath))[0])
        for field in ("applied", "predicted"):
            assert sum(frame[field] is not None for frame in sample.frames.values()) == expected
        for frame in sample.frames.values():
            boxes = [[box.bounding_box for box in frame[field].detections] for field in ("applied", "predicted")]
            np.testing.assert_allclose(*boxes, atol=1e-6)
    upright = dataset.first().frames.first()["applied"].detections
    assert upright, "the person is detected"


def test_what_failed_is_not_read_again_until_it_changes(dataset: fo.Dataset, videos: Path, tmp_path: Path) -> None:
    for name in ("plain.mp4", "half-long.mp4"):
        shutil.copyfile(videos / name, tmp_path / name)
    dataset.add_samples([fo.Sample(str(tmp_path / name)) for name in ("plain.mp4", "half-long.mp4")], progress=False)
    segment = operator("segment_instances")
    assert segment(dataset, "predicted", **FAST)["failed"] == 1
    again = segment(dataset, "predicted", existing="skip", **FAST)
    assert (again["total"], again["done"], again["failed"]) == (0, 0, 1), "named again, and not read again"
    shutil.copyfile(videos / "long.mp4", tmp_path / "half-long.mp4")
    whole = segment(dataset, "predicted", existing="skip", **FAST)
    assert (whole["done"], whole["failed"]) == (75, 0)


def test_frames_on_disk_are_upright(dataset: fo.Dataset, videos: Path, tmp_path: Path) -> None:
    """FiftyOne's ``to_frames`` lets ffmpeg write them."""
    dataset.add_sample(fo.Sample(str(videos / "matrix-90.mp4")))
    frames = dataset.to_frames(sample_frames=True, output_dir=str(tmp_path), progress=False)
    with Image.open(frames.first().filepath) as image:
        assert image.size == (240, 320)
        expected = ffmpeg_frames(videos / "matrix-90.mp4")[0]
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).mean() < 5
