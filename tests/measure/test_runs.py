"""What the folders of our own runs bring: inputs, sources, poses and masks, without a flag."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measure.made_frames import plain, pose, texture
from PIL import Image
from video.made_clips import make_clip

from masactrl_video.errors import UserError
from masactrl_video.jobs.comic.outputs import ComicOutputs, comic_claimed
from masactrl_video.jobs.measure.report import measure_clip
from masactrl_video.jobs.measure.runs import is_made_here, results_of_run
from masactrl_video.jobs.run.folder import begin_folder
from masactrl_video.jobs.run.report import Report
from masactrl_video.page.story import Story
from masactrl_video.poses.pose_json import write_poses
from masactrl_video.settings.presets import read_preset, resolve, resolve_as
from masactrl_video.settings.stills import StillSettings
from masactrl_video.video.frame import Selection

HEADER = "# Resolved settings; a test.\n"


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def render_folder(folder: Path, changes: Mapping[str, Any]) -> Path:
    begin_folder(folder, HEADER, resolve(read_preset("demo"), changes))
    picture(folder / "source.png", texture())
    return folder


def still_folder(folder: Path, changes: Mapping[str, Any], *names: str) -> Path:
    begin_folder(folder, HEADER, resolve_as(StillSettings, read_preset("demo"), changes))
    for name in names:
        picture(folder / name, texture(64, 64, seed=len(name)))
    return folder


def test_a_render_brings_its_clip_frames_source_poses_and_masks(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", size="64x64", frame_rate="10", seconds=1)
    out = render_folder(tmp_path / "out", {"clip": clip, "skip_first_frames": 2, "frame_load_cap": 3, "fit": "pad"})
    make_clip(tmp_path / "out.mp4", size="64x64", frame_rate="10", seconds=0.3)
    (out / "guidance-pose").mkdir()
    write_poses(out / "guidance-pose" / "pose.json", [pose()] * 3)
    for at in range(3):
        picture(out / "masks" / f"{at:06d}.png", plain(255, 4, 4))
    assert is_made_here(out)
    (given,) = results_of_run(out)
    assert (given.result, given.original, given.source) == (tmp_path / "out.mp4", clip, out / "source.png")
    assert (given.selection, given.fit) == (Selection(2, 1, 3), "pad")
    assert (given.poses, given.pose_detector) == (out / "guidance-pose" / "pose.json", "demo/keypoints")
    assert (given.masks, given.masks_of_cells) == (out / "masks", True)
    found = measure_clip(out, result_poses=given.poses)
    assert found.num_frames == 3
    assert found.value("pose-oks") == 1
    assert found.figure("kept-psnr-outside") is None  # the masks are white all over
    assert found.value("edit-strength") > 0


def test_a_run_that_is_not_finished_or_has_lost_its_clip_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = render_folder(tmp_path / "out", {"clip": tmp_path / "gone.mp4"})
    with pytest.raises(UserError, match="no video lies beside it: finish the run, or name its video"):
        measure_clip(out)
    make_clip(tmp_path / "out.mp4", size="64x64", frame_rate="10", seconds=0.3)
    with caplog.at_level(logging.WARNING):
        (given,) = results_of_run(out)
    assert given.original is None
    assert "gone.mp4 is not there; give it with --input" in caplog.text


def test_an_animation_follows_its_poses_and_has_no_input(tmp_path: Path) -> None:
    write_poses(tmp_path / "poses.json", [pose()] * 3)
    out = render_folder(tmp_path / "out", {"clip": tmp_path / "poses.json", "guidance": ["pose"]})
    make_clip(tmp_path / "out.mp4", size="64x64", frame_rate="10", seconds=0.3)
    (given,) = results_of_run(out)
    assert given.original is None


def test_stills_are_measured_against_their_source_with_their_poses(tmp_path: Path) -> None:
    asked = {"source_prompt": "a bear", "prompts": ["a", "b"], "target_guidance": {"pose": ["waving", "sitting"]}}
    names = [f"target-{number}.png" for number in (1, 2)]
    out = still_folder(tmp_path / "stills", {**asked, "guidance": ["pose"]}, "source.png", *names)
    (given,) = results_of_run(out)
    assert [path.name for path in given.pictures] == names
    assert given.original == given.source == out / "source.png"
    assert (len(given.wanted), given.pose_detector) == (2, "demo/keypoints")


def test_of_several_methods_or_seeds_each_stands_for_itself(tmp_path: Path) -> None:
    asked = {"source_prompt": "a bear", "prompts": ["a", "b"], "guidance": []}
    names = [f"target-{number}-{method}.png" for number in (1, 2) for method in ("masactrl", "fixed-seed")]
    compared = results_of_run(still_folder(tmp_path / "compared", asked, "source.png", *names))
    assert [(one.label, len(one.pictures)) for one in compared] == [("masactrl", 2), ("fixed-seed", 2)]
    seeds = [f"{kind}-seed{seed}.png" for seed in (3, 4) for kind in ("source", "target-1")]
    of_seeds = results_of_run(still_folder(tmp_path / "seeds", asked, *seeds))
    assert [(one.label, one.original and one.original.name) for one in of_seeds] == [
        ("seed3", "source-seed3.png"),
        ("seed4", "source-seed4.png"),
    ]
    with pytest.raises(UserError, match="holds 2 results"):
        measure_clip(tmp_path / "compared")


def test_a_comic_is_its_panels_of_any_sizes_beside_its_character(tmp_path: Path) -> None:
    story = Story.model_validate({"characters": {"hero": {"prompt": "a bear"}}, "panels": [{"prompt": "a bear"}] * 2})
    outputs = ComicOutputs(tmp_path / "page.png", 1)
    with comic_claimed(outputs, story, [], False, Report()):
        picture(outputs.panel(1), texture(64, 64))
        picture(outputs.panel(2), texture(48, 80))
        picture(outputs.source("hero"), texture(64, 64))
    found = measure_clip(outputs.folder)
    assert (found.num_frames, found.frame_rate) == (2, None)
    assert found.figure("colour-distance") is not None
    assert found.figure("temporal-flickering") is None


def test_masks_and_poses_for_each_input_frame_go_with_its_partner(tmp_path: Path) -> None:
    fast = make_clip(tmp_path / "fast.mp4", size="64x64", frame_rate="20", seconds=0.5)
    slow = make_clip(tmp_path / "slow.mp4", size="64x64", frame_rate="10", seconds=0.5)
    write_poses(tmp_path / "wanted.json", [pose((float(at), 0)) for at in range(10)])
    write_poses(tmp_path / "seen.json", [pose((float(2 * at), 0)) for at in range(5)])
    found = measure_clip(slow, input=fast, poses=tmp_path / "wanted.json", result_poses=tmp_path / "seen.json")
    assert found.value("pose-oks") == 1
