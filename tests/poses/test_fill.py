import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.repair import fill_missing, missing_frames


def standing_at(x_px: float, *, seen=range(18)) -> Pose:
    body = np.zeros((18, 3), np.float32)
    body[list(seen)] = x_px, 50, 1
    return Pose((Person(body),), 512, 512)


def xs(pose: Pose) -> np.ndarray:
    return pose.people[0].body[:, 0]


def test_missing_frames_are_those_with_nobody(empty_pose):
    unseen = standing_at(1, seen=[])
    assert missing_frames([standing_at(1), empty_pose, unseen, standing_at(2)]) == [1, 2]


def test_gaps_are_interpolated_linearly_and_ends_repeat_the_nearest(empty_pose):
    poses = [empty_pose, standing_at(10), empty_pose, empty_pose, standing_at(40), empty_pose]
    np.testing.assert_allclose([xs(pose)[0] for pose in fill_missing(poses)], [10, 10, 20, 30, 40, 40], rtol=1e-6)


def test_a_point_that_only_one_neighbour_has_follows_the_nearer_one(empty_pose):
    poses = [standing_at(10), empty_pose, empty_pose, standing_at(40, seen=range(17))]
    near, far = (pose.people[0].body for pose in fill_missing(poses)[1:3])
    assert near[17].tolist() == [10, 50, 1]
    assert far[17].tolist() == [0, 0, 0]


def test_hands_and_face_are_filled_too(empty_pose, whole_person):
    moved = Pose((whole_person,), 512, 512).transform(lambda xy: xy + 10, width_px=512, height_px=512)
    filled = fill_missing([Pose((whole_person,), 512, 512), empty_pose, moved])[1].people[0]
    np.testing.assert_allclose(filled.face[:, :2], whole_person.face[:, :2] + 5)
    np.testing.assert_allclose(filled.right_hand[:, :2], whole_person.right_hand[:, :2] + 5)


def test_frames_with_a_person_stay_the_same_object(empty_pose):
    poses = [standing_at(10), empty_pose]
    assert fill_missing(poses)[0] is poses[0]


def test_nobody_anywhere_is_an_error(empty_pose):
    with pytest.raises(UserError, match="2 frames"):
        fill_missing([empty_pose, empty_pose])
