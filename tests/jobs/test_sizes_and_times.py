"""Sizes and times of a clip, from end to end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from video.made_clips import ffmpeg, make_clip

from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]


@pytest.mark.parametrize(
    ("clip_size", "changes", "size"),
    [
        ("36x64", {}, (96, 168)),
        ("64x36", {}, (168, 96)),
        ("64x36", {"width": 64, "fit": "pad"}, (64, 40)),
        ("48x48", {"width": 64, "height": 48, "fit": "resize"}, (64, 48)),
    ],
)
def test_frames_have_a_size_that_the_model_takes(
    render: Render, tmp_path: Path, clip_size: str, changes: dict[str, object], size: tuple[int, int]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size=clip_size, seconds=0.08)
    outputs = render(tmp_path / "out.mp4", clip=clip, **changes)
    info = open_clip(outputs.video).info
    assert (info.width_px, info.height_px) == size
    assert [read_png(path).shape for path in (*outputs.frames(2), outputs.source)] == [(size[1], size[0], 3)] * 3


def test_frames_too_brief_for_the_kind_of_video_are_refused_before_any_is_rendered(
    render: Render, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frame_rate="240", seconds=0.1)
    with pytest.raises(UserError, match=r"lasts 0\.0042 s, but this kind of video cannot show frames for less"):
        render(tmp_path / "out.gif", clip=clip, frame_load_cap=None)
    assert list(tmp_path.iterdir()) == [clip]


def test_a_size_that_does_not_fit_is_refused(render: Render, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the width 100 is no multiple of 8"):
        render(tmp_path / "out.mp4", width=100)
    assert list(tmp_path.iterdir()) == []


def test_every_second_frame_of_a_varying_rate_lasts_as_long_as_the_clip(render: Render, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "even.mp4", size="48x48", frame_rate="10", seconds=0.6)
    varying = tmp_path / "varying.mkv"
    times = "setpts='if(lt(N,3),N,N*2-3)/10/TB'"
    ffmpeg("-i", clip, "-vf", times, "-fps_mode", "passthrough", "-enc_time_base", "1:1000", varying)
    before = open_clip(varying)
    assert len({round(timing.duration_seconds, 2) for timing in before.timeline()}) > 1
    outputs = render(tmp_path / "out.mp4", clip=varying, select_every_nth=2, frame_load_cap=None)
    after = open_clip(outputs.video)
    starts = [timing.start_seconds for timing in before.timeline()][::2]
    assert len(after) == 3
    assert [timing.start_seconds for timing in after.timeline()] == pytest.approx(starts, abs=0.002)
    assert after.info.duration_seconds == pytest.approx(before.info.duration_seconds, abs=0.002)


def test_a_folder_of_images_has_the_rate_that_is_asked_for(render: Render, rendered: Outputs, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mkv", clip=rendered.folder / "frames", frame_rate=5, frame_load_cap=None)
    info = open_clip(outputs.video).info
    assert (info.num_frames, info.duration_seconds, info.has_audio) == (4, pytest.approx(0.8, abs=0.002), False)


def test_sound_is_left_out_when_asked(render: Render, tmp_path: Path) -> None:
    outputs = render(tmp_path / "out.mp4", audio=False, side_by_side=True)
    assert not open_clip(outputs.video).info.has_audio
    assert not open_clip(outputs.side_by_side).info.has_audio
