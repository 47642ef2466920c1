"""The stages one by one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masactrl_video.cache.manage import list_entries
from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.errors import UserError
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.jobs.single_stages import encode_frames, record_source_of, write_frames, write_guidance
from masactrl_video.settings.settings import Settings
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png

Made = Callable[..., Settings]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_frames_are_the_clip_at_the_models_size(demo: Made, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "frames"
    assert write_frames(demo(), folder) == 2
    assert names(folder) == ["000000.png", "000001.png", "log.txt", "report.json"]
    assert read_png(folder / "000001.png").shape == (128, 128, 3)
    with pytest.raises(UserError, match="frames exists"):
        write_frames(demo(), folder)


def test_guidance_is_written_as_pictures_and_video_and_reused(demo: Made, rendered: Outputs, tmp_path: Path) -> None:
    folder = tmp_path / "guidance"
    assert write_guidance(demo(), folder) == {"canny": folder / "canny"}
    assert names(folder) == [
        "canny",
        "canny.mp4",
        "canny/000000.png",
        "canny/000001.png",
        "canny/index.json",
        "log.txt",
        "report.json",
    ]
    assert np.array_equal(
        read_png(folder / "canny" / "000001.png"), read_png(rendered.guidance("canny") / "000001.png")
    )
    made = (folder / "canny" / "000000.png").stat().st_mtime_ns
    with pytest.raises(UserError, match=r"canny\.mp4 exists"):
        write_guidance(demo(), folder)
    write_guidance(demo(), folder, overwrite=True)
    assert (folder / "canny" / "000000.png").stat().st_mtime_ns == made


@pytest.mark.parametrize("changes", [{"guidance": []}, {"guidance": ["pose"], "model": str(WEIGHTS)}])
def test_guidance_that_cannot_be_made_leaves_no_folder(demo: Made, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match="guidance"):
        write_guidance(demo(**changes), tmp_path / "guidance")
    assert names(tmp_path) == []


def test_the_source_is_recorded_and_then_used_by_a_render(
    demo: Made, render: Callable[..., Outputs], tmp_path: Path
) -> None:
    own = {"cache_dir": tmp_path / "cache", "prompt": "a frog at the beach"}
    picture = tmp_path / "source.png"
    entry = record_source_of(demo(**own), picture)
    assert [summary.name for summary in list_entries(tmp_path / "cache")] == [entry]
    outputs = render(tmp_path / "out.mp4", **own)
    assert Path(json.loads(outputs.report.read_text())["cache_entry"]).name == entry
    assert np.array_equal(read_png(outputs.source), read_png(picture))
    with pytest.raises(UserError, match=r"source\.png exists"):
        record_source_of(demo(**own), picture)
    with pytest.raises(UserError, match=r"written as \.png"):
        record_source_of(demo(**own), tmp_path / "source.jpg")


def test_frames_that_are_there_become_a_video_with_the_clips_times_and_sound(
    demo: Made, rendered: Outputs, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "out.mp4"
    encode_frames(demo(frame_load_cap=None), rendered.folder / "frames", output)
    info = open_clip(output).info
    assert (info.num_frames, info.has_audio) == (4, True)
    with pytest.raises(UserError, match=r"out\.mp4 exists"):
        encode_frames(demo(frame_load_cap=None), rendered.folder / "frames", output)


def test_frames_that_another_system_has_hidden_are_left_out_and_gaps_are_said(
    demo: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("0001.png", "0002.png", "0005.png"):
        Image.new("RGB", (32, 32)).save(folder / name)
        (folder / f"._{name}").write_bytes(b"\0\5\x16\7")
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "0003.png.part").write_bytes(b"")
    encode_frames(demo(frame_load_cap=3), folder, tmp_path / "out.mp4")
    assert len(open_clip(tmp_path / "out.mp4")) == 3
    assert "2 numbers are missing (3–4)" in caplog.text
    assert "no frames that are read: 0003.png.part" in caplog.text


def test_frames_of_another_number_or_size_are_refused(demo: Made, rendered: Outputs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 4 pictures, but 2 frames are taken"):
        encode_frames(demo(), rendered.folder / "frames", tmp_path / "out.mp4")
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (32, 32 + 2 * index)).save(folder / f"{index}.png")
    with pytest.raises(UserError, match="one size"):
        encode_frames(demo(), folder, tmp_path / "out.mp4")
    with pytest.raises(UserError, match="not a folder"):
        encode_frames(demo(), tmp_path / "none", tmp_path / "out.mp4")
    assert names(tmp_path) == ["frames", "frames/0.png", "frames/1.png"]


def test_the_clip_is_never_encoded_over(demo: Made, rendered: Outputs, clip: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(UserError, match="would be overwritten"):
        encode_frames(demo(frame_load_cap=None), rendered.folder / "frames", clip, overwrite=True)
    assert clip.read_bytes() == before


@pytest.mark.long
def test_each_stage_leaves_a_log_and_a_report_beside_what_it_made(
    demo: Made, rendered: Outputs, tmp_path: Path
) -> None:
    write_frames(demo(), tmp_path / "frames")
    write_guidance(demo(), tmp_path / "guidance")
    record_source_of(demo(cache_dir=tmp_path / "cache"), tmp_path / "source.png")
    encode_frames(demo(frame_load_cap=None), rendered.folder / "frames", tmp_path / "out.mp4")
    for name in ("frames/log.txt", "guidance/log.txt", "source.log.txt", "out.log.txt"):
        lines = (tmp_path / name).read_text().splitlines()
        assert lines[0].startswith("--- masactrl-video ")
        assert lines[-1].startswith("--- done after ")
    for name in (
        "frames/report.json",
        "guidance/report.json",
        ".source.png.run/report.json",
        ".out.mp4.run/report.json",
    ):
        report = json.loads((tmp_path / name).read_text())
        assert report.keys() >= {"settings", "versions", "warnings", "seconds"}
        assert report["settings"]["num_inference_steps"] == 2
