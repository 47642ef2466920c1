"""What becomes of each sound track is known before the first picture, and is what players of the container play."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from encode.test_video import frames_of
from video.made_clips import ffmpeg, make_sounding_clip

from masactrl_video.encode import video as audio
from masactrl_video.encode.video import encode_video, plan_video
from masactrl_video.errors import UserError

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=10:duration=2")


def sounding(path: Path, *sounds: str, options: tuple[str, ...] = ()) -> Path:
    """Two seconds with a sound track of each lavfi source."""
    inputs = [part for sound in sounds for part in ("-f", "lavfi", "-i", sound)]
    maps = [part for number in range(len(sounds) + 1) for part in ("-map", str(number))]
    ffmpeg(*PICTURE, *inputs, *maps, "-pix_fmt", "yuv420p", *options, path)
    return path


def with_unknown_track(path: Path, track: int, count: int) -> Path:
    """An MP4 with AAC tracks, one of which (from 0) claims a codec that no ffmpeg has."""
    sounding(path, *["sine=duration=2"] * count, options=("-c:a", "aac"))
    head, *entries = path.read_bytes().split(b"mp4a\0\0\0\0\0\0")
    marks = [b"mp4a" if number != track else b"zzzz" for number in range(len(entries))]
    data = head + b"".join(mark + b"\0" * 6 + rest for mark, rest in zip(marks, entries, strict=True))
    before, *codec_boxes = data.split(b"esds")
    names = [b"esds" if number != track else b"zzzz" for number in range(len(codec_boxes))]
    path.write_bytes(before + b"".join(name + rest for name, rest in zip(names, codec_boxes, strict=True)))
    return path


def sound_of(path: Path) -> list[str]:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return re.findall(r"Audio: (\w+)", subprocess.run(command, capture_output=True, text=True).stderr)


def encoded(tmp_path: Path, suffix: str, source: Path, start_seconds: float = 0.0) -> list[str]:
    output = tmp_path / f"out{suffix}"
    encode_video(frames_of(4), [0.1] * 4, output, audio_from=source, audio_start_seconds=start_seconds)
    ffmpeg("-xerror", "-i", output, "-f", "null", "-")  # all of it can be decoded
    return sound_of(output)


@pytest.mark.parametrize(
    ("codec", "source", "kept", "converted"),
    [
        ("aac", "a.mp4", (".mp4", ".mov", ".mkv"), (".webm",)),
        ("ac3", "a.mkv", (".mp4", ".mov", ".mkv"), (".webm",)),
        ("alac", "a.mov", (".mp4", ".mov", ".mkv"), (".webm",)),
        ("pcm_s16le", "a.mov", (".mov", ".mkv"), (".mp4", ".webm")),
        ("pcm_f32le", "a.mov", (".mkv",), (".mp4", ".mov")),
        ("vorbis", "a.webm", (".webm", ".mkv"), (".mp4", ".mov")),
        ("libopus", "a.webm", (".webm", ".mkv"), (".mp4", ".mov")),
        ("flac", "a.mkv", (".mkv",), (".mp4", ".mov", ".webm")),
        ("mp2", "a.mkv", (".mkv",), (".mp4",)),
    ],
)
def test_sound_that_players_do_not_play_is_converted_and_said(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    codec: str,
    source: str,
    kept: tuple[str, ...],
    converted: tuple[str, ...],
) -> None:
    video = "libvpx" if source.endswith("webm") else "libx264"
    options = ("-c:v", video, "-c:a", codec, "-ac", "2", "-strict", "-2")
    clip = sounding(tmp_path / source, "sine=duration=2", options=options)
    (own,) = sound_of(clip)
    with caplog.at_level("INFO", "masactrl_video"):
        for suffix in kept:
            assert encoded(tmp_path, suffix, clip) == [own]
        assert caplog.text == ""
        for suffix in converted:
            assert encoded(tmp_path, suffix, clip) == ["opus" if suffix == ".webm" else "aac"]
            assert f"sound track 1 of 1 ({own}) is encoded again" in caplog.text
            caplog.clear()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv"])
@pytest.mark.parametrize("start_seconds", [0.0, 0.5])
def test_a_track_that_cannot_be_decoded_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, start_seconds: float
) -> None:
    clip = with_unknown_track(tmp_path / "a.mp4", 1, 3)
    assert encoded(tmp_path, suffix, clip, start_seconds) == ["opus" if suffix == ".webm" else "aac"] * 2
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{clip}, sound track 2 of 3 (")
    assert "is left out: ffmpeg cannot decode it" in warning
    assert "IMAGEIO_FFMPEG_EXE" in warning


def test_where_no_track_can_be_decoded_the_video_is_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = with_unknown_track(tmp_path / "a.mp4", 0, 1)
    assert encoded(tmp_path, ".mp4", clip) == []
    assert "sound track 1 of 1" in caplog.text


def test_what_was_planned_is_done_without_saying_it_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip, output = with_unknown_track(tmp_path / "a.mp4", 1, 2), tmp_path / "out.mp4"
    plan = plan_video([0.1] * 4, ".mp4", audio_from=clip)
    assert "sound track 2 of 2" in caplog.text
    caplog.clear()
    encode_video(frames_of(4), [0.1] * 4, output, plan=plan)
    assert sound_of(output) == ["aac"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("sound", "codec", "suffix", "start_seconds"),
    [
        (
            "sine=duration=2,aformat=channel_layouts=5.1(side)",
            "ac3",
            ".webm",
            0.0,
        ),  # libopus knows no such loudspeakers
        ("sine=duration=2,aformat=channel_layouts=7.1", "flac", ".mp4", 0.5),
        ("sine=duration=0.3", "aac", ".mp4", 1.0),  # it has ended
        ("sine=duration=0.3", "aac", ".webm", 1.0),
        ("sine=duration=1,adelay=1000", "flac", ".webm", 0.0),
    ],
)
def test_odd_sound_does_not_stop_the_video(
    tmp_path: Path, sound: str, codec: str, suffix: str, start_seconds: float
) -> None:
    clip = sounding(tmp_path / "a.mkv", sound, options=("-c:a", codec))
    sound_is_over = start_seconds == 1
    assert len(encoded(tmp_path, suffix, clip, start_seconds)) == 1 or sound_is_over


def test_more_loudspeakers_than_aac_knows_become_two_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = "anoisesrc=duration=2,aformat=channel_layouts=hexadecagonal"
    clip = sounding(tmp_path / "a.mkv", sound, options=("-c:a", "pcm_s16le"))
    assert encoded(tmp_path, ".mp4", clip) == ["aac"]
    assert "is mixed down to stereo" in caplog.text


def test_sound_that_is_damaged_further_on_does_not_stop_the_video(tmp_path: Path) -> None:
    clip = sounding(tmp_path / "a.mkv", "anoisesrc=duration=2", options=("-c:a", "flac"))
    data = bytearray(clip.read_bytes())
    for at in range(len(data) // 3, len(data), 50):
        data[at] ^= 0xFF
    clip.write_bytes(data)
    encode_video(frames_of(4), [0.5] * 4, tmp_path / "out.mp4", audio_from=clip)


def test_an_ffmpeg_without_the_encoder_is_said_before_the_first_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_sounding_clip(tmp_path / "a.mp4")
    run = audio.run_ffmpeg
    monkeypatch.setattr(
        audio, "run_ffmpeg", lambda command: "Unknown encoder 'libopus'" if "libopus" in command else run(command)
    )
    with pytest.raises(UserError, match=r"track 1 of 1 \(aac\): .* as Opus .*Unknown encoder.*--no-audio, or another"):
        plan_video([0.1], ".webm", audio_from=clip)


def test_sound_that_begins_late_ends_with_the_pictures(tmp_path: Path) -> None:
    one, late = sounding(tmp_path / "one.mp4", "sine=duration=2"), tmp_path / "late.mkv"
    ffmpeg("-i", one, "-itsoffset", "0.2", "-i", one, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    encoded(tmp_path, ".webm", late)
    said = ffmpeg("-i", tmp_path / "out.webm", "-map", "0:a", "-c", "copy", "-f", "framecrc", "-")
    rows = [row.split(",") for row in said.splitlines() if not row.startswith("#")]
    assert 150 <= int(rows[0][2]) < int(rows[-1][2]) < 400, "milliseconds"
