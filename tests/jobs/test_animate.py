"""A pose sequence in the place of the clip goes the same way as a clip with poses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from poses.walkers import ADULT, CHILD, lengths_of, standing, walking
from video.made_clips import ffmpeg

from masactrl_video.errors import UserError
from masactrl_video.jobs.animate import PoseInput, pose_input
from masactrl_video.jobs.run.folder import Outputs
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses, write_poses
from masactrl_video.poses.skeleton import BODY_BONES, bone_lengths
from masactrl_video.settings.presets import read_config
from masactrl_video.video.clip import open_clip
from masactrl_video.video.png import read_png

Render = Callable[..., Outputs]


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("poses") / "poses.json"
    write_poses(path, walking(ADULT, 4))
    return path


def test_poses_alone_give_the_frames_that_a_clip_with_these_poses_gives(
    render: Render, poses: Path, tmp_path: Path
) -> None:
    black = tmp_path / "black.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=size=512x512:rate=10:duration=0.4", "-pix_fmt", "yuv420p", black)
    alone = render(tmp_path / "alone.mp4", clip=poses, guidance=["pose"], frame_rate=10, frame_load_cap=None)
    beside = render(tmp_path / "beside.mp4", clip=black, guidance=["pose"], pose_json=poses, frame_load_cap=None)
    for first, second in zip(alone.frames(4), beside.frames(4), strict=True):
        np.testing.assert_array_equal(read_png(first), read_png(second))
    reports = [json.loads(outputs.report.read_text()) for outputs in (alone, beside)]
    assert reports[0]["cache_entry"] == reports[1]["cache_entry"]
    video = open_clip(alone.video)
    assert (len(video), video.info.average_frame_rate, video.info.has_audio) == (4, pytest.approx(10), False)
    assert read_config(alone.config)["clip"] == str(poses)
    assert not [path for path in alone.folder.rglob("*.mp4") if "guidance" not in path.name]


@pytest.mark.long
def test_poses_are_chosen_smoothed_and_given_another_body_on_the_way(render: Render, tmp_path: Path) -> None:
    pairs = zip(walking(CHILD, 9, left_px=60), walking(ADULT, 9, left_px=300), strict=True)
    write_poses(tmp_path / "two.json", [Pose(small.people + large.people, 512, 512) for small, large in pairs])
    write_poses(tmp_path / "child.json", [Pose((standing(CHILD),), 512, 512)])
    treated = {"person": "largest", "smooth_poses": 5, "retarget": tmp_path / "child.json"}
    outputs = render(tmp_path / "out.mp4", clip=tmp_path / "two.json", guidance=["pose"], **treated)
    drawn = read_poses(outputs.guidance("pose") / "pose.json")
    assert [len(pose.people) for pose in drawn] == [1, 1]
    for pose in drawn:  # on the model's canvas of 128x128
        np.testing.assert_allclose(bone_lengths(pose.people[0].body, BODY_BONES), lengths_of(CHILD) / 4, rtol=0.02)


def test_skeleton_pictures_are_told_from_others(tmp_path: Path, poses: Path, clip: Path) -> None:
    skeletons = tmp_path / "skeletons"
    skeletons.mkdir()
    for index, pose in enumerate(walking(ADULT, 2)):
        Image.fromarray(draw_pose(pose)).save(skeletons / f"{index}.png")
    assert pose_input(poses, detected=False) is PoseInput.JSON
    assert pose_input(skeletons, detected=False) is PoseInput.SKELETONS
    assert pose_input(clip, detected=True) is PoseInput.PEOPLE
    with pytest.raises(UserError, match="does not show skeletons on black"):
        pose_input(clip, detected=False)


def test_a_real_skeleton_video_is_taken_for_one(shared_folder: Path) -> None:
    assert pose_input(shared_folder / "data" / "pose" / "dance1.mp4", detected=False) is PoseInput.SKELETONS
    with pytest.raises(UserError, match="--pose-detector"):
        pose_input(shared_folder / "data" / "clips" / "girl-dancing.mp4", detected=False)
