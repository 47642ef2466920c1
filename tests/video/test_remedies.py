"""Every command that a message advises cures what it is named for, and loses nothing."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from video.made_clips import ffmpeg

from masactrl_video.errors import UserError
from masactrl_video.video.clip import Clip, open_clip

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1")
TWO_SOUNDS = ("-f", "lavfi", "-i", "sine=300:duration=1", "-f", "lavfi", "-i", "sine=700:duration=1")
ALL = ("-map", "0:v", "-map", "1:a", "-map", "2:a", "-pix_fmt", "yuv420p", "-c:v", "libx264")
HDR = "setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc="
INTERLACED = ("-vf", "interlace", "-flags", "+ilme+ildct")


def advised(text: str) -> list[str]:
    """The arguments of the command that a message advises."""
    return shlex.split(re.search(r"ffmpeg (-i in\.mp4 .* out\.\w+)", text)[1])  # type: ignore[index]


def cured(text: str, path: Path) -> Clip:
    """What the advised command makes of the file."""
    arguments = advised(text)
    output = path.with_name(arguments[-1])
    ffmpeg(*arguments[:1], path, *arguments[2:-1], output)
    sounds = ffmpeg("-i", output, "-map", "0:a", "-c", "copy", "-f", "framecrc", "-")
    assert len(re.findall(r"^#codec_id", sounds, re.MULTILINE)) == 2, "no sound is lost"
    return open_clip(output)


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("pq.mp4", ("-vf", f"{HDR}smpte2084", "-pix_fmt", "yuv420p10le"), "HDR"),
        ("hlg.mkv", ("-vf", f"{HDR}arib-std-b67", "-pix_fmt", "yuv420p10le"), "HDR"),
        ("interlaced.mp4", INTERLACED, "interlaced"),
        ("interlaced.mkv", (*INTERLACED, "-c:a", "libopus"), "interlaced"),
        ("interlaced.mov", (*INTERLACED, "-c:a", "pcm_s16le"), "interlaced"),
    ],
)
def test_what_is_remarked_is_cured_by_what_is_advised(
    tmp_path: Path, name: str, options: tuple[str, ...], word: str
) -> None:
    path = tmp_path / name
    ffmpeg(*PICTURE, *TWO_SOUNDS, *ALL, *options, path)
    clip = open_clip(path)
    (remark,) = (remark for remark in clip.info.remarks if word in remark)
    new = cured(remark, path)
    assert not [remark for remark in new.info.remarks if word in remark]
    assert len(list(new)) == len(clip), "no frame is lost or doubled"
    assert [timing.start_seconds for timing in new.timeline()] == pytest.approx(
        [timing.start_seconds for timing in clip.timeline()], abs=2e-3
    )


def test_frames_without_times_are_cured_by_what_is_advised(tmp_path: Path) -> None:
    one, path = tmp_path / "one.mp4", tmp_path / "twice.mkv"
    ffmpeg(*PICTURE, *TWO_SOUNDS, *ALL, "-bf", "0", one)
    twice = "setts=pts='if(eq(N,3),PREV_OUTPTS,PTS)':dts='if(eq(N,3),PREV_OUTDTS,DTS)'"
    ffmpeg("-i", one, "-map", "0", "-c", "copy", "-bsf:v", twice, path)
    with pytest.raises(UserError, match="without a time of their own; repair it") as refused:
        open_clip(path)
    new = cured(str(refused.value), path)
    assert len(list(new)) == 10


def test_two_transport_streams_put_together_are_read_or_cured_by_what_is_advised(tmp_path: Path) -> None:
    one, two, path = tmp_path / "one.ts", tmp_path / "two.ts", tmp_path / "both.ts"
    for part, seconds in ((one, 3), (two, 2)):
        picture = ("-f", "lavfi", "-i", f"testsrc2=size=160x96:rate=25:duration={seconds}")
        ffmpeg(*picture, *TWO_SOUNDS, *ALL, "-bf", "2", "-c:a", "aac", part)
    path.write_bytes(one.read_bytes() + two.read_bytes())
    try:
        assert len(list(open_clip(path))) >= 124
    except UserError as refused:
        assert len(list(cured(str(refused), path))) == 125
