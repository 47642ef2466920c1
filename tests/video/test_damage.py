"""Damaged videos and folders: what is asked for and lies before the damage is given, and the damage is named."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
from PIL import Image
from video.damage import damage_packet
from video.made_clips import decoded_hashes, ffmpeg, make_clip
from video.test_bad_media import hashes

from masactrl_video.errors import UserError
from masactrl_video.video.clip import open_clip
from masactrl_video.video.facts import facts_of
from masactrl_video.video.frame import Selection

SUFFIXES = (".mp4", ".mkv", ".webm", ".gif", ".avi")
DAMAGED_FRAME = 25


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 30 frames and a tone in each container."""
    folder = tmp_path_factory.mktemp("whole")
    sound = ("-f", "lavfi", "-i", "sine=duration=3:sample_rate=44100", "-shortest", "-g", "5")
    for suffix in SUFFIXES:
        more = () if suffix == ".gif" else sound
        picture = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=3")
        pixels = () if suffix == ".gif" else ("-pix_fmt", "yuv420p")
        ffmpeg(*picture, *more, *pixels, folder / f"clip{suffix}")
    ffmpeg("-i", folder / "clip.mp4", "-c", "copy", "-movflags", "+faststart", folder / "fast.mp4")
    ffmpeg("-i", folder / "clip.mp4", "-c", "copy", "-movflags", "+frag_keyframe+empty_moov", folder / "frag.mp4")
    return folder


@pytest.fixture(scope="module")
def damaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, each damaged in its 26th packet, which holds frame 25."""
    folder = tmp_path_factory.mktemp("damaged")
    for suffix in SUFFIXES:
        path = folder / f"clip{suffix}"
        path.write_bytes((whole / path.name).read_bytes())
        damage_packet(path, DAMAGED_FRAME)
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("selection", [Selection(0, 1, 4), Selection(20, 1, 5), Selection(1, 8, 3)])
def test_damage_beyond_what_is_asked_for_harms_nothing(
    whole: Path, damaged: Path, suffix: str, selection: Selection
) -> None:
    clip = open_clip(damaged / f"clip{suffix}", selection)
    clip.check()
    frames = decoded_hashes(whole / f"clip{suffix}")
    assert hashes(clip) == [frames[n] for n in selection.positions(30)]
    assert hashes(clip) == [frames[n] for n in selection.positions(30)], "each time the same"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_damaged_frame_is_named_and_all_before_it_can_be_taken(whole: Path, damaged: Path, suffix: str) -> None:
    path = damaged / f"clip{suffix}"
    blamed = "cut off or damaged" if suffix == ".gif" else f"frame {DAMAGED_FRAME} of "
    with pytest.raises(UserError, match=rf"{blamed}.*--allow-partial takes"):
        open_clip(path).check()
    clip = open_clip(path, allow_partial=True)
    assert hashes(clip) == decoded_hashes(whole / path.name)[:DAMAGED_FRAME]
    assert f"only its first {DAMAGED_FRAME} frames can be read" in clip.info.remarks[0]


def test_damage_that_readers_meet_ahead_is_warned_of(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_clip(damaged / "clip.mp4", Selection(20, 1, 5)).check()
    assert f"frame {DAMAGED_FRAME} of 30 cannot be decoded; the frames that are taken lie before it" in caplog.text


@pytest.mark.parametrize("name", [*(f"clip{suffix}" for suffix in SUFFIXES), "fast.mp4", "frag.mp4"])
@pytest.mark.parametrize("tail", ["zeros", "tag", "random", "mark", "byte"])
def test_what_comes_after_the_end_is_no_damage(whole: Path, tmp_path: Path, name: str, tail: str) -> None:
    tails = {
        "zeros": bytes(3000),
        "tag": b"TAG" + b"Some title".ljust(125, b"\0"),
        "random": random.Random(0).randbytes(2000),
        "mark": bytes(100) + b"8db42d694ccc418790edff439fe026bf",
        "byte": b"\n",
    }
    path = tmp_path / name
    path.write_bytes((whole / name).read_bytes() + tails[tail])
    clip = open_clip(path)
    assert hashes(clip) == decoded_hashes(whole / name)
    assert clip.info.remarks == open_clip(whole / name).info.remarks
    assert len(open_clip(path, allow_partial=True)) == 30


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.webm", "clip.gif", "clip.avi", "frag.mp4"])
def test_without_its_last_byte_a_video_is_whole_where_that_is_no_picture(
    whole: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes((whole / name).read_bytes()[:-1])
    clip = open_clip(path)
    assert (len(clip), hashes(clip)) == (30, decoded_hashes(whole / name))


def test_an_mp4_whose_sound_is_cut_has_all_its_frames_and_says_so(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes((whole / "fast.mp4").read_bytes()[:-1])
    clip = open_clip(path)
    assert hashes(clip) == decoded_hashes(whole / "fast.mp4")
    assert clip.info.remarks == ("1 byte or more is missing of its sound, which ends early",)


@pytest.mark.parametrize("name", ["fast.mp4", "frag.mp4", "clip.mkv", "clip.webm", "clip.gif", "clip.avi"])
def test_of_a_video_that_is_cut_off_what_lies_before_the_cut_needs_no_flag(
    whole: Path, tmp_path: Path, name: str
) -> None:
    data, path = (whole / name).read_bytes(), tmp_path / name
    frames = decoded_hashes(whole / name)
    for percent in (45, 60, 83):
        path.write_bytes(data[: len(data) * percent // 100])
        clip = open_clip(path, Selection(3, 1, 4))
        assert hashes(clip) == frames[3:7]
        assert "the frames that are taken lie before that" in clip.info.remarks[0]
        with pytest.raises(UserError, match="--allow-partial takes"):
            open_clip(path, Selection(20, 1, 9))
        left = hashes(open_clip(path, allow_partial=True))
        assert 9 < len(left) < 30
        assert left == frames[: len(left)]


def test_of_a_folder_the_pictures_before_a_broken_one_can_be_taken(tmp_path: Path) -> None:
    for n in range(5):
        Image.effect_noise((48, 32), 50).convert("RGB").save(tmp_path / f"{n}.png")
    broken = tmp_path / "3.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    assert len(list(open_clip(tmp_path, Selection(0, 1, 3)))) == 3
    with pytest.raises(UserError, match=r"3\.png is damaged.*; --allow-partial takes the 3 before it"):
        open_clip(tmp_path).check()
    clip = open_clip(tmp_path, allow_partial=True)
    assert len(list(clip)) == len(clip) == 3
    assert "3.png cannot be read: 2 of its 5 images, from that on, are left out" in clip.info.remarks
    assert facts_of(tmp_path).damage == "3.png cannot be read; the first 3 of 5 frames can be read"


def test_probe_finds_damage_and_colours(whole: Path, damaged: Path, tmp_path: Path) -> None:
    facts = facts_of(damaged / "clip.mp4")
    assert facts.damage == "frame 25 cannot be decoded; the first 25 of 30 frames can be read"
    assert facts.as_data()["num_readable_frames"] == 25
    assert facts_of(damaged / "clip.mp4", decode=False).damage == ""
    assert facts_of(whole / "clip.mp4").damage == ""
    tagged = "setparams=range=tv:color_primaries=bt2020:colorspace=bt2020nc:color_trc=smpte2084"
    path = make_clip(tmp_path / "hdr.mp4", options=("-vf", tagged, "-c:v", "libx264"))
    facts = facts_of(path)
    colours = facts.as_data()["colours"]
    assert facts.codec == "h264 (High)"
    assert list(colours.values()) == ["yuv420p", "limited", "bt2020nc", "bt2020", "smpte2084"]


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.mp4", "PNG"), ("a.tif", "TIFF")])
def test_a_photo_is_told_of_what_takes_photos(tmp_path: Path, name: str, kind: str) -> None:
    Image.new("RGB", (48, 32)).save(tmp_path / name, format=kind)
    with pytest.raises(UserError, match="is a picture, not a clip: `masactrl-video edit` changes a picture, and --so"):
        open_clip(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jpg", b"this is no picture", "is named like a picture, and is no clip"),
        ("a.heic", b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "is a picture, not a clip"),
        ("a.mp4", b"", "is empty"),
        ("a.jpg", b"", "is empty"),
    ],
)
def test_what_else_is_no_clip(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        open_clip(tmp_path / name)


def test_a_frame_that_a_decoder_patches_up_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_clip(
        tmp_path / "clip.mkv",
        size="160x96",
        frame_rate="10",
        seconds=3,
        options=("-c:v", "libx264", "-g", "12"),
    )
    open_clip(path).check()
    damage_packet(path, 24, half=True)
    with caplog.at_level(logging.WARNING):
        open_clip(path, Selection(0, 1, 24)).check()
        assert "patched up" not in caplog.text
        assert len(list(open_clip(path))) == 30
        open_clip(path).check()
    assert "frame 24 of 30 is patched up" in caplog.text
    assert len(open_clip(path, allow_partial=True)) == 24, "what is advised leaves none of them"
