"""Videos as they really are: each is read as ffmpeg shows it, or refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from video.made_clips import decoded_hashes, ffmpeg, make_clip

from masactrl_video.errors import UserError
from masactrl_video.video.clip import Clip, open_clip

FIVE = ("-f", "lavfi", "-i", "testsrc2=size=48x32:rate=10:duration=0.5")
HALF_CLEAR = "colorchannelmixer=aa=0.5"
HDR = "setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc="

MADE = {
    "10 bits.mp4": ("-pix_fmt", "yuv420p10le", "-c:v", "libx264"),
    "10 bits.webm": ("-pix_fmt", "yuv420p10le", "-c:v", "libvpx-vp9"),
    "pq.mp4": ("-vf", f"{HDR}smpte2084", "-pix_fmt", "yuv420p10le", "-c:v", "libx264"),
    "hlg.mkv": ("-vf", f"{HDR}arib-std-b67", "-pix_fmt", "yuv420p10le", "-c:v", "libx264"),
    "clear.webm": ("-vf", f"format=yuva420p,{HALF_CLEAR}", "-c:v", "libvpx", "-auto-alt-ref", "0"),
    "clear.mov": ("-vf", f"format=argb,{HALF_CLEAR}", "-c:v", "qtrle"),
    "clear 10 bits.mov": ("-vf", f"format=yuva444p10le,{HALF_CLEAR}", "-c:v", "prores_ks", "-profile:v", "4444"),
    "clear.gif": ("-vf", "format=rgba,colorkey=red:0.3"),
    "interlaced.mp4": ("-vf", "interlace", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-flags", "+ilme+ildct"),
    "odd.mp4": ("-vf", "scale=51:33,setsar=1", "-pix_fmt", "yuv444p", "-c:v", "libx264"),
    "odd.webm": ("-vf", "scale=51:33,setsar=1", "-pix_fmt", "yuv420p", "-c:v", "libvpx-vp9"),
    "odd.gif": ("-vf", "scale=51:33,setsar=1"),
    "narrow.mkv": ("-vf", "scale=2:64,setsar=1", "-c:v", "ffv1", "-pix_fmt", "yuv444p"),
    "one.mp4": ("-frames:v", "1", "-pix_fmt", "yuv420p"),
    "one.webm": ("-frames:v", "1", "-pix_fmt", "yuv420p"),
    "one.gif": ("-frames:v", "1"),
    "varying.mkv": ("-vf", "setpts='N*N*0.1/TB'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p"),
}
REMARKS = {"pq": "HDR", "hlg": "HDR", "clear": "transparency", "interlaced": "interlaced"}


def hashes(clip: Clip) -> list[str]:
    return [hashlib.md5(frame.pixels.tobytes()).hexdigest() for frame in clip]


@pytest.mark.parametrize("name", MADE)
def test_it_is_read_as_ffmpeg_shows_it_and_what_is_lost_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ffmpeg(*FIVE, *MADE[name], path)
    clip = open_clip(path)
    frames = decoded_hashes(path)
    assert len(clip) == len(frames) > 0
    assert hashes(clip) == frames
    kind = next((kind for kind in REMARKS if name.startswith(kind) and path.suffix != ".gif"), None)
    assert [REMARKS[kind] in remark for remark in clip.info.remarks] == ([True] if kind else [])


@pytest.mark.parametrize(("sound_seconds", "audio"), [(2, "longer"), (0.1, "shorter")])
def test_sound_of_another_length_does_not_change_the_frames(tmp_path: Path, sound_seconds: float, audio: str) -> None:
    path = tmp_path / f"{audio}.mp4"
    ffmpeg(*FIVE, "-f", "lavfi", "-i", f"sine=duration={sound_seconds}", "-pix_fmt", "yuv420p", path)
    info = open_clip(path).info
    assert (info.num_frames, info.has_audio) == (5, True)
    assert info.duration_seconds == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "words"), [("zero.mp4", "holds no video stream"), ("zero.mkv", "is not a video that can be read")]
)
def test_a_video_without_a_frame_is_refused(tmp_path: Path, name: str, words: str) -> None:
    ffmpeg(*FIVE, "-pix_fmt", "yuv420p", "-frames:v", "0", tmp_path / name)
    with pytest.raises(UserError, match=words):
        open_clip(tmp_path / name)


def test_a_slanted_video_is_refused(tmp_path: Path) -> None:
    ffmpeg("-display_rotation", 45, "-i", make_clip(tmp_path / "upright.mp4"), "-c", "copy", tmp_path / "slanted.mp4")
    with pytest.raises(UserError, match="rotation of 315 degrees; only 0, 90, 180 and 270"):
        open_clip(tmp_path / "slanted.mp4")


def test_a_frame_of_8k_is_read(tmp_path: Path) -> None:
    options = ("-frames:v", "1", "-c:v", "libx264", "-preset", "ultrafast")
    clip = open_clip(make_clip(tmp_path / "8k.mp4", size="7680x4320", frame_rate="10", options=options))
    (frame,) = clip
    assert frame.pixels.shape == (4320, 7680, 3)
    assert np.ptp(frame.pixels[::100, ::100]) > 200


@pytest.mark.parametrize(("side", "words"), [(11_000, "at most 100 million pixels"), (65_535, "names no size")])
def test_a_small_file_that_claims_a_huge_picture_is_refused(tmp_path: Path, side: int, words: str) -> None:
    path = make_clip(tmp_path / "claims.gif")
    data = bytearray(path.read_bytes())
    data[6:10] = side.to_bytes(2, "little") * 2
    path.write_bytes(data)
    with pytest.raises(UserError, match=words):
        list(open_clip(path))


def test_a_header_that_claims_8k_of_a_small_video_changes_nothing(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "claims.mp4")
    frames, data = decoded_hashes(path), bytearray(path.read_bytes())
    place = data.index(b"avc1", data.index(b"stsd")) + 28
    data[place : place + 4] = (7680).to_bytes(2, "big") + (4320).to_bytes(2, "big")
    path.write_bytes(data)
    assert hashes(open_clip(path)) == frames


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames in each container, their data after what describes them."""
    folder = tmp_path_factory.mktemp("whole")
    for suffix in (".mp4", ".mkv", ".webm", ".gif"):
        options = {".mp4": ("-g", "5", "-movflags", "+faststart"), ".gif": ()}.get(suffix, ("-g", "5"))
        make_clip(folder / f"clip{suffix}", frame_rate="10", seconds=2, options=options)
    return folder


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
@pytest.mark.parametrize("share", [0.02, 0.7, 0.97])
def test_of_a_video_that_is_cut_off_the_whole_frames_can_be_taken(
    whole: Path, tmp_path: Path, suffix: str, share: float
) -> None:
    original = whole / f"clip{suffix}"
    path = tmp_path / f"cut{suffix}"
    data = original.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"cut off or damaged|not a video"):
        open_clip(path)
    if share < 0.1:
        with pytest.raises(UserError, match=r"not one frame is left|not one of its frames|not a video"):
            open_clip(path, allow_partial=True)
        return
    clip = open_clip(path, allow_partial=True)
    frames = hashes(clip)
    assert frames == decoded_hashes(original)[: len(frames)]
    assert 1 <= len(frames) == len(clip) < 20
    assert f"only its first {len(frames)} frames can be read" in clip.info.remarks[0]
    assert hashes(clip) == frames, "each time the same"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_of_a_video_with_a_hole_the_frames_before_it_can_be_taken(whole: Path, tmp_path: Path, suffix: str) -> None:
    original = whole / f"clip{suffix}"
    path = tmp_path / f"hole{suffix}"
    data = bytearray(original.read_bytes())
    hole = slice(len(data) * 3 // 4, len(data) * 3 // 4 + 300)
    data[hole] = bytes(byte ^ 0xAA for byte in data[hole])
    path.write_bytes(data)
    try:
        assert len(list(open_clip(path))) == 20, "ffmpeg conceals some damage"
    except UserError as error:
        assert "--allow-partial takes" in str(error)
    clip = open_clip(path, allow_partial=True)
    frames = hashes(clip)
    assert frames == decoded_hashes(path)[: len(frames)]
    assert frames[0] == decoded_hashes(original)[0]
    assert 1 <= len(frames) < 20
    assert hashes(clip) == frames


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_a_whole_video_is_taken_whole_where_a_part_is_allowed(whole: Path, suffix: str) -> None:
    clip = open_clip(whole / f"clip{suffix}", allow_partial=True)
    assert (len(clip), clip.info.remarks) == (20, ())
    assert hashes(clip) == decoded_hashes(whole / f"clip{suffix}")
