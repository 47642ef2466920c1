"""The frame that was asked for is the frame that comes, at its time: compared with ffmpeg's own decoding."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video.made_clips import decoded_hashes, decoded_starts_seconds, ffmpeg

from masactrl_video.video.clip import Clip
from masactrl_video.video.decord_reader import VideoFile
from masactrl_video.video.frame import Selection

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30:duration=1.2")
BEEP = ("-f", "lavfi", "-i", "sine=duration=1.2")
H264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "12")
OPEN_GROUPS = ("-pix_fmt", "yuv420p", "-c:v", "libx265", "-x265-params", "log-level=none:keyint=12:open-gop=1")
VARYING = ("-vf", "select='not(mod(n,3))+lt(n,10)'", "-fps_mode", "vfr")

MADE: dict[str, tuple[str, ...]] = {
    "h264.mp4": H264,
    "h264.mov": H264,
    "h264.mkv": H264,
    "h264.avi": H264,
    "h264.ts": H264,
    "h264.m2ts": H264,
    "h264.flv": H264,
    "fragments.mp4": (*H264, "-movflags", "frag_keyframe+empty_moov"),
    "varying.mp4": (*VARYING, *H264),
    "varying.ts": (*VARYING, *H264),
    "vp8.webm": ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-b:v", "100k"),
    "pictures.gif": (),
    "pictures.webp": ("-loop", "0"),
    "pictures.apng": ("-plays", "0"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "12"),
    "mjpeg.avi": ("-pix_fmt", "yuvj420p", "-c:v", "mjpeg"),
    "uncompressed.avi": ("-c:v", "rawvideo"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-bf", "2", "-g", "12"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-g", "12"),
    "theora.ogv": ("-c:v", "libtheora"),
    "old.wmv": ("-c:v", "wmv2"),
    "h265.mp4": OPEN_GROUPS,
}
SILENT = (".gif", ".webp", ".apng")
SELECTIONS = (Selection(), Selection(0, 2), Selection(14), Selection(7, 3, 2))


def check_all_selections(path: Path) -> None:
    expected, starts = decoded_hashes(path), decoded_starts_seconds(path)
    source = VideoFile(path)
    assert [timing.start_seconds for timing in source.timings] == pytest.approx(starts, abs=5e-4)
    for selection in SELECTIONS:
        frames = list(Clip(source, selection))
        assert [frame.index for frame in frames] == list(selection.positions(len(expected)))
        found = [hashlib.md5(frame.pixels.tobytes()).hexdigest() for frame in frames]
        assert found == [expected[frame.index] for frame in frames], selection
    last = Clip(source, Selection()).frame(len(expected) - 1)
    assert hashlib.md5(last.pixels.tobytes()).hexdigest() == expected[-1]


def make(path: Path, kind: str) -> Path:
    sound = () if path.suffix in SILENT else (*BEEP, *(("-ar", "44100") if path.suffix == ".flv" else ()))
    ffmpeg(*PICTURE, *sound, *MADE[kind], path)
    return path


@pytest.mark.parametrize("kind", MADE)
def test_any_selection_is_that_of_a_full_decode(tmp_path: Path, kind: str) -> None:
    check_all_selections(make(tmp_path / kind, kind))


@pytest.mark.parametrize("kind", ["h264.mp4", "h265.mp4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_so_it_is_after_trimming_without_encoding(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    ffmpeg("-ss", 0.5, "-i", make(tmp_path / kind, kind), "-c", "copy", path)
    check_all_selections(path)


def start_late(whole: Path, path: Path) -> None:
    ffmpeg("-itsoffset", 0.7, "-i", whole, "-i", whole, "-map", "0:v", "-map", "1:a", "-c", "copy", path)


def start_before_zero(whole: Path, path: Path) -> None:
    ffmpeg("-itsoffset", -0.3, "-i", whole, "-c", "copy", "-avoid_negative_ts", "disabled", path)


def record_live(whole: Path, path: Path) -> None:
    """As browsers do: no duration, no index, clusters of unknown size."""
    ffmpeg("-i", whole, "-c", "copy", "-f", "matroska", "-live", "1", path)


def drop_in(whole: Path, path: Path) -> None:
    """As a broadcast is recorded: from the middle of a group of frames, and of a packet."""
    path.write_bytes(whole.read_bytes()[7000:])


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        (start_late, "h264.mp4", "late.mp4"),
        (start_late, "h264.mp4", "late.mkv"),
        (start_late, "h264.ts", "late.ts"),
        (start_before_zero, "h264.mp4", "early.mp4"),
        (start_before_zero, "h264.mkv", "early.mkv"),
        (record_live, "h264.mkv", "live.mkv"),
        (drop_in, "h264.ts", "dropped in.ts"),
        (drop_in, "mpeg2.ts", "dropped in.ts"),
    ],
)
def test_so_it_is_wherever_it_starts(
    tmp_path: Path, change: Callable[[Path, Path], None], kind: str, name: str
) -> None:
    change(make(tmp_path / kind, kind), tmp_path / name)
    check_all_selections(tmp_path / name)


@pytest.mark.parametrize(
    "matrix", [("-display_hflip",), ("-display_vflip",), ("-display_rotation", "90", "-display_hflip")]
)
def test_so_it_is_where_it_is_shown_mirrored(tmp_path: Path, matrix: tuple[str, ...]) -> None:
    ffmpeg(*matrix, "-i", make(tmp_path / "h264.mp4", "h264.mp4"), "-c", "copy", tmp_path / "mirrored.mp4")
    check_all_selections(tmp_path / "mirrored.mp4")


def test_so_it_is_where_the_container_hides_the_edges(tmp_path: Path) -> None:
    path = make(tmp_path / "h264.mp4", "h264.mp4")
    add_clean_aperture(path, width_px=48, height_px=40)
    check_all_selections(path)


def add_clean_aperture(path: Path, width_px: int, height_px: int) -> None:
    """Write a box "clap" (ISO/IEC 14496-12, 12.1.4.1) into the description of the video, and lengthen what holds it."""
    box = struct.pack(">I4s8i", 40, b"clap", width_px, 1, height_px, 1, 0, 2, 0, 2)
    data = bytearray(path.read_bytes())
    start, end = 0, len(data)
    for name, header_bytes in (
        ("moov", 8),
        ("trak", 8),
        ("mdia", 8),
        ("minf", 8),
        ("stbl", 8),
        ("stsd", 16),
        ("avc1", 0),
    ):
        while data[start + 4 : start + 8] != name.encode():
            start += int.from_bytes(data[start : start + 4], "big")
        length = int.from_bytes(data[start : start + 4], "big")
        data[start : start + 4] = (length + len(box)).to_bytes(4, "big")
        start, end = start + header_bytes, start + length
    data[end:end] = box
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".webp", ".apng"])
@pytest.mark.parametrize("opaque", [True, False])
def test_moving_pictures_keep_their_times_and_say_what_is_lost(tmp_path: Path, suffix: str, opaque: bool) -> None:
    mode, colours = ("RGB", (255, 60, 0)) if opaque else ("RGBA", (255, 60, 0, 128))
    pictures = [Image.new(mode, (40, 30), colours), Image.new(mode, (40, 30)), Image.new(mode, (40, 30), colours)]
    path = tmp_path / f"clip{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 250, 50], lossless=True)
    source = VideoFile(path)
    assert [timing.duration_seconds for timing in source.timings] == pytest.approx([0.1, 0.25, 0.05])
    assert bool(source.info.remarks) != opaque
    if opaque:
        frames = np.array([frame.pixels[10, 10] for frame in Clip(source, Selection())])
        assert np.array_equal(frames, [[255, 60, 0], [0, 0, 0], [255, 60, 0]])
