import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video.made_clips import decoded_hashes, ffmpeg, make_clip, make_sounding_clip

from masactrl_video.errors import UserError
from masactrl_video.video.clip import Clip, open_clip
from masactrl_video.video.frame import Selection

EVERY_THIRD_AFTER_TEN = "select='not(mod(n,3))+lt(n,10)'"


def hashes(clip: Clip) -> list[str]:
    return [hashlib.md5(frame.pixels.tobytes()).hexdigest() for frame in clip]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".gif"])
def test_every_frame_comes_once_as_ffmpeg_shows_it(tmp_path: Path, suffix: str) -> None:
    path = make_clip(tmp_path / f"clip{suffix}")
    clip = open_clip(path)
    assert len(clip) == clip.info.num_frames == 20
    assert hashes(clip) == decoded_hashes(path)
    assert hashes(clip) == decoded_hashes(path), "a second iteration gives the same frames"
    assert clip.info.duration_seconds == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif"])
def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path, suffix: str) -> None:
    path = make_clip(tmp_path / f"v{suffix}", options=("-vf", EVERY_THIRD_AFTER_TEN, "-fps_mode", "vfr"))
    frames = list(open_clip(path))
    expected = [n * 0.04 for n in [*range(10), 12, 15, 18]]
    assert [frame.start_seconds for frame in frames] == pytest.approx(expected, abs=1e-6)
    assert [frame.duration_seconds for frame in frames[8:12]] == pytest.approx([0.04, 0.12, 0.12, 0.12], abs=1e-6)


@pytest.mark.parametrize(("anticlockwise", "clockwise"), [(90, 270), (180, 180), (270, 90)])
def test_rotation_in_the_file_is_applied(tmp_path: Path, anticlockwise: int, clockwise: int) -> None:
    upright = make_clip(tmp_path / "upright.mp4")
    path = tmp_path / "rotated.mp4"
    ffmpeg("-display_rotation", anticlockwise, "-i", upright, "-c", "copy", path)
    clip = open_clip(path)
    assert clip.info.rotation_degrees == clockwise
    turned = np.rot90(open_clip(upright).frame(3).pixels, anticlockwise // 90)
    assert np.abs(clip.frame(3).pixels.astype(int) - turned).mean() < 2
    assert (clip.info.height_px, clip.info.width_px) == turned.shape[:2]


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    clip = open_clip(make_clip(tmp_path / "wide.mp4", options=("-vf", "setsar=2")))
    assert (clip.info.width_px, clip.info.height_px) == (96, 32)
    assert clip.frame(0).pixels.shape == (32, 96, 3)


def test_frames_hidden_by_an_edit_list_are_left_out(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4")
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", 0.4, "-i", whole, "-c", "copy", path)
    clip = open_clip(path)
    assert hashes(clip) == hashes(open_clip(whole))[-len(clip) :]
    assert len(clip) < 20
    assert clip.timeline()[0].start_seconds == pytest.approx(0, abs=0.04)


def test_late_video_keeps_its_start(tmp_path: Path) -> None:
    sounding = make_sounding_clip(tmp_path / "sounding.mp4")
    path = tmp_path / "late.mp4"
    ffmpeg("-itsoffset", 1.5, "-i", sounding, "-i", sounding, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    clip = open_clip(path)
    assert clip.info.has_audio
    assert clip.timeline()[0].start_seconds == pytest.approx(1.5, abs=1e-6)


def test_cover_art_is_not_taken_for_the_video(tmp_path: Path) -> None:
    video, cover = make_clip(tmp_path / "video.mp4"), tmp_path / "cover.png"
    Image.new("RGB", (20, 20)).save(cover)
    path = tmp_path / "covered.mp4"
    ffmpeg("-i", cover, "-i", video, "-map", 0, "-map", 1, "-c", "copy", "-disposition:v:0", "attached_pic", path)
    assert hashes(open_clip(path)) == hashes(open_clip(video))


@pytest.mark.parametrize("selection", [Selection(3), Selection(0, 4), Selection(2, 3, 4), Selection(0, 1, 5)])
def test_selection_agrees_between_iterating_timeline_and_single_frames(tmp_path: Path, selection: Selection) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    clip = open_clip(path, selection)
    frames = list(clip)
    assert [frame.index for frame in frames] == list(selection.positions(20))
    assert [(frame.index, frame.start_seconds, frame.duration_seconds) for frame in frames] == clip.timeline()
    whole = decoded_hashes(path)
    assert hashes(clip) == [whole[frame.index] for frame in frames]
    assert np.array_equal(clip.frame(1).pixels, frames[1].pixels)


def test_selected_frames_last_until_the_next_one(tmp_path: Path) -> None:
    timeline = open_clip(make_clip(tmp_path / "clip.mp4"), Selection(select_every_nth=6)).timeline()
    assert [timing.duration_seconds for timing in timeline] == pytest.approx([0.24, 0.24, 0.24, 0.08])
    assert all(a.start_seconds + a.duration_seconds == pytest.approx(b.start_seconds) for a, b in pairwise(timeline))


def test_a_cap_keeps_the_last_frames_duration(tmp_path: Path) -> None:
    timeline = open_clip(make_clip(tmp_path / "clip.mp4"), Selection(0, 6, 2)).timeline()
    assert [timing.duration_seconds for timing in timeline] == pytest.approx([0.24, 0.24])


@pytest.mark.parametrize("bad", [{"skip_first_frames": -1}, {"select_every_nth": 0}, {"frame_load_cap": 0}])
def test_selection_refuses_numbers_below_its_range(bad: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        Selection(**bad)


def test_selection_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaves none of the 20 frames"):
        open_clip(make_clip(tmp_path / "clip.mp4"), Selection(skip_first_frames=20))


@pytest.mark.parametrize("n", [-1, 20])
def test_frame_outside_the_clip_is_refused(tmp_path: Path, n: int) -> None:
    with pytest.raises(UserError, match="0 to 19"):
        open_clip(make_clip(tmp_path / "clip.mp4")).frame(n)


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "concat:a.mp4|b.mp4", "subfile:,,a.mp4"])
def test_addresses_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="not a local file"):
        open_clip(Path(address))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: .*nothing\.mp4"):
        open_clip(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    "content", ["hello", "#EXTM3U\n#EXTINF:1,\nhttp://example.org/a.ts\n", "ffconcat version 1.0\n"]
)
def test_text_and_playlists_are_not_videos(tmp_path: Path, content: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text(content)
    with pytest.raises(UserError, match="not a video"):
        open_clip(path)


def test_sound_alone_is_not_a_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / "sound.mp4")
    with pytest.raises(UserError, match="no video stream"):
        open_clip(tmp_path / "sound.mp4")


def test_damaged_frames_raise_instead_of_being_repeated(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", options=("-g", "5"))
    path = tmp_path / "damaged.mkv"
    ffmpeg("-i", whole, "-c", "copy", "-bsf:v", "noise=drop='eq(n,10)'", path)
    with pytest.raises(UserError, match=r"frame \d+ of 19 .* cannot be decoded"):
        list(open_clip(path))


def test_frame_rate_is_for_folders_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="times of its own"):
        open_clip(make_clip(tmp_path / "clip.mp4"), frame_rate=12)


def test_real_clips_have_the_frames_that_were_counted(shared_folder: Path) -> None:
    counted = {"girl-dancing.mp4": 8, "wolf.mp4": 40, "moonwalk.mp4": 63, "man-skiing.mp4": 91}
    counted |= {
        "car-turn.mp4": 80,
        "woman-running.mp4": 120,
        "signing-gebaerden.mp4": 149,
        "flipping-a-pancake.mkv": 310,
    }
    clips = {name: open_clip(shared_folder / "data" / "clips" / name) for name in counted}
    assert {name: sum(1 for _ in clip) for name, clip in clips.items()} == counted
    assert [name for name, clip in clips.items() if clip.info.has_audio] == ["man-skiing.mp4", "flipping-a-pancake.mkv"]


def test_real_gif_has_its_frames_and_times(shared_folder: Path) -> None:
    frames = list(open_clip(shared_folder / "data" / "pose" / "dance1.gif"))
    assert [frame.start_seconds for frame in frames] == [n / 4 for n in range(16)]
