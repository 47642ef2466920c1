"""A pose sequence in the place of a clip: it gives number, times and size of the frames."""

import numpy as np
import pytest
from poses.walkers import ADULT, walking

from masactrl_video.errors import UserError
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_clip import fingerprint_poses, is_pose_json, open_pose_clip, read_sequence
from masactrl_video.poses.pose_json import read_poses, write_pose_folder, write_poses
from masactrl_video.video.frame import Selection


@pytest.fixture
def poses() -> list[Pose]:
    return walking(ADULT, 5)


def test_frames_are_skeletons_at_the_rate_that_is_given(tmp_path, poses) -> None:
    write_poses(tmp_path / "poses.json", poses)
    clip = open_pose_clip(tmp_path / "poses.json", Selection(1, 2), frame_rate=10)
    assert (len(clip), clip.info.num_frames, clip.info.width_px, clip.info.has_audio) == (2, 5, 512, False)
    assert [timing.start_seconds for timing in clip.timeline()] == pytest.approx([0.1, 0.3])
    for frame, pose in zip(clip, read_poses(tmp_path / "poses.json")[1::2], strict=True):
        np.testing.assert_array_equal(frame.pixels, draw_pose(pose))
    assert open_pose_clip(tmp_path / "poses.json").info.average_frame_rate == 24


def test_a_rate_of_nothing_is_refused(tmp_path, poses) -> None:
    write_poses(tmp_path / "poses.json", poses)
    with pytest.raises(UserError, match="above 0"):
        open_pose_clip(tmp_path / "poses.json", frame_rate=0)


def test_frames_on_other_canvases_are_scaled_to_the_first(tmp_path, poses) -> None:
    write_poses(tmp_path / "poses.json", [poses[0], poses[0].scaled(width_px=256, height_px=1024)])
    first, second = read_sequence(tmp_path / "poses.json")
    np.testing.assert_allclose(second.people[0].body, first.people[0].body, atol=0.01)


def test_json_is_told_from_pictures(tmp_path, poses) -> None:
    write_pose_folder(tmp_path / "json", poses)
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "pose.json").write_text("[]")
    (tmp_path / "both" / "0.PNG").write_bytes(b"")
    paths = ("json", "a.json", "a.JSON", "both", "a.mp4", "absent")
    assert [is_pose_json(tmp_path / path) for path in paths] == [True, True, True, False, False, False]


@pytest.mark.parametrize("normalised", [False, True])
def test_a_folder_with_a_file_a_frame_is_read_back(tmp_path, poses, normalised) -> None:
    write_pose_folder(tmp_path / "json", poses, normalised=normalised)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json"]
    back = read_poses(tmp_path / "json")
    for before, after in zip(poses, back, strict=True):
        np.testing.assert_allclose(after.people[0].body, before.people[0].body, atol=0.01)


def test_what_a_reader_would_take_for_pixels_is_not_written_as_0_to_1(tmp_path, poses) -> None:
    far = poses[0].transform(lambda xy: xy + 2000, width_px=512, height_px=512)
    with pytest.raises(UserError, match="frame 1: a point lies too far outside"):
        write_poses(tmp_path / "poses.json", [poses[0], far], normalised=True)
    assert list(tmp_path.iterdir()) == []


def test_the_fingerprint_is_of_the_content(tmp_path, poses) -> None:
    write_poses(tmp_path / "a.json", poses)
    write_poses(tmp_path / "b.json", poses)
    write_poses(tmp_path / "c.json", poses[:4])
    a, b, c = (fingerprint_poses(tmp_path / f"{name}.json") for name in "abc")
    assert a == b != c
