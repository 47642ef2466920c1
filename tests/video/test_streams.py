"""Which of a file's video streams is taken, and the colours that it is shown in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from video.made_clips import decoded_hashes, ffmpeg, make_clip

from masactrl_video.errors import UserError
from masactrl_video.video import decord_reader
from masactrl_video.video.clip import Clip, open_clip
from masactrl_video.video.fingerprint import fingerprint_clip
from masactrl_video.video.frame import Selection
from masactrl_video.video.streams import choose_stream


def hashes(clip: Clip) -> list[str]:
    return [hashlib.md5(frame.pixels.tobytes()).hexdigest() for frame in clip]


@pytest.fixture(params=[".mkv", ".mp4", ".ts"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two streams of unlike pictures and frames, none of which is marked as default in MPEG-TS."""
    one, other = make_clip(tmp_path / "one.mp4"), make_clip(tmp_path / "other.mp4", size="64x48", frame_rate="10")
    path = tmp_path / f"two{request.param}"
    marks = ("-disposition:v:0", "0", "-disposition:v:1", "default")
    ffmpeg("-i", one, "-i", other, "-map", "0:v", "-map", "1:v", "-c", "copy", *marks, path)
    return path


def test_the_default_stream_is_taken_and_said(two: Path) -> None:
    default = 0 if two.suffix == ".ts" else 1
    clip = open_clip(two)
    assert hashes(clip) == decoded_hashes(two, default)
    (remark,) = clip.info.remarks
    assert remark.startswith(f"it holds 2 video streams, and number {default} is taken")


@pytest.mark.parametrize("wanted", [0, 1])
def test_another_stream_is_taken_when_asked_for(two: Path, wanted: int) -> None:
    clip = open_clip(two, video_stream=wanted)
    assert hashes(clip) == decoded_hashes(two, wanted)
    assert clip.info.remarks == ()
    assert hashes(open_clip(two, Selection(3, 2), video_stream=wanted)) == decoded_hashes(two, wanted)[3::2]


def test_a_stream_past_the_last_is_refused(two: Path) -> None:
    with pytest.raises(UserError, match=r"^--video-stream 2: .* holds 2 video streams; allowed is 0 to 1$"):
        open_clip(two, video_stream=2)


def test_a_stream_beside_the_only_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--video-stream 1: .* holds one video stream; allowed is 0$"):
        open_clip(make_clip(tmp_path / "one.mp4"), video_stream=1)


def test_a_folder_has_no_streams(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--video-stream is for a video, but .* is a folder"):
        open_clip(tmp_path, video_stream=0)


def test_another_stream_is_another_clip(tmp_path: Path) -> None:
    path = tmp_path / "any.mp4"
    path.write_bytes(b"any")
    assert len({fingerprint_clip(path, None, stream) for stream in (None, 0, 1)}) == 3


TAGS = "h264_metadata=matrix_coefficients="


@pytest.mark.parametrize(
    ("size", "tags", "as_players"),
    [
        ("640x360", "null", "null"),
        ("1280x720", "null", "scale=in_color_matrix=bt709"),
        ("368x640", "null", "scale=in_color_matrix=bt709"),
        ("640x360", f"{TAGS}1", "scale=in_color_matrix=bt709"),
        ("1280x720", f"{TAGS}1", "scale=in_color_matrix=bt709"),
        ("1280x720", f"{TAGS}6", "scale=in_color_matrix=bt601"),
        ("640x360", "h264_metadata=video_full_range_flag=1", "scale=in_range=full"),
        ("1280x720", "h264_metadata=video_full_range_flag=1", "scale=in_range=full:in_color_matrix=bt709"),
        ("1280x720", f"{TAGS}9:colour_primaries=9:transfer_characteristics=14", "scale=in_color_matrix=bt2020"),
    ],
)
def test_colours_are_those_that_players_show(tmp_path: Path, size: str, tags: str, as_players: str) -> None:
    plain = make_clip(tmp_path / "plain.mp4", size=size, frame_rate="10", seconds=0.2, options=("-qp", "8"))
    path = tmp_path / "tagged.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", tags, path)
    assert hashes(open_clip(path)) == decoded_hashes(path, filters=as_players)


@pytest.mark.parametrize(
    ("said", "matrix"),
    [
        ("h264 (High) (avc1 / 0x31637661), yuv420p(progressive), 1920x1080 [SAR 1:1]", "bt709"),
        ("h264 (High), yuv420p, 1920x1080", "bt709"),
        ("hevc (Main 10), yuv420p10le(tv, unknown/bt709/bt709), 1920x1080", "bt709"),
        ("h264 (High), yuv420p(tv, bt709, progressive), 1920x1080", None),
        ("h264 (High), yuv420p(tv, smpte170m/bt709/unknown, progressive), 1920x1080", None),
        ("mjpeg (Baseline) (MJPG / 0x47504A4D), yuvj422p(pc, bt470bg/unknown/unknown), 1920x1080", None),
        ("png, rgb24(pc, gbr/unknown/unknown), 1920x1080", None),
        ("mpeg2video (Main), yuv420p(tv, top first), 720x576 [SAR 64:45]", None),
    ],
)
def test_bt709_is_assumed_of_hd_that_says_nothing(tmp_path: Path, said: str, matrix: str | None) -> None:
    stream = choose_stream(tmp_path, f"Input #0, matroska,webm, from 'x':\n  Stream #0:0: Video: {said}\n", None)
    assert stream is not None
    assert stream.assumed_matrix == matrix


@pytest.mark.parametrize("good_frames", [0, 7])
def test_ffmpeg_goes_on_where_decord_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_frames: int) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    whole = decord_reader._decord_frames

    def ends_early(path: Path, positions: range, size_px: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        return (pixels for pixels, _ in zip(whole(path, positions, size_px), range(good_frames), strict=False))

    monkeypatch.setattr(decord_reader, "_decord_frames", ends_early)
    assert hashes(open_clip(path)) == decoded_hashes(path)
    assert hashes(open_clip(path, Selection(1, 2))) == decoded_hashes(path)[1::2]
