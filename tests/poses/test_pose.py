import numpy as np
import pytest

from masactrl_video.poses.pose import BODY_NAMES, LIMBS, Person, Pose


def test_limbs_join_named_neighbours():
    named = {(BODY_NAMES[start], BODY_NAMES[end]) for start, end in LIMBS}
    assert ("right elbow", "right wrist") in named
    assert ("left knee", "left ankle") in named
    assert len(named) == 17


def test_transform_moves_found_points_and_leaves_missing_ones_missing(whole_person):
    whole_person.body[3] = 0
    pose = Pose((whole_person,), 512, 512).transform(lambda xy: xy * 2 + 10, width_px=1044, height_px=1034)
    moved = pose.people[0]
    assert (pose.width_px, pose.height_px) == (1044, 1034)
    assert moved.body[3].tolist() == [0, 0, 0]
    np.testing.assert_allclose(moved.body[4, :2], whole_person.body[4, :2] * 2 + 10)
    np.testing.assert_allclose(moved.left_hand[:, :2], whole_person.left_hand[:, :2] * 2 + 10)
    assert moved.face.dtype == np.float32


def test_scaling_uses_one_factor_for_each_axis(person):
    scaled = Pose((person,), 512, 512).scaled(width_px=1024, height_px=256).people[0]
    np.testing.assert_allclose(scaled.body[:, :2], person.body[:, :2] * [2, 0.5])


def test_a_person_without_found_points_is_nobody():
    assert not Pose((Person(np.zeros((18, 3), np.float32)),), 8, 8).has_person


def test_a_hand_alone_is_somebody(whole_person):
    hand_only = Person(np.zeros((18, 3), np.float32), left_hand=whole_person.left_hand)
    assert Pose((hand_only,), 512, 512).has_person


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="body"):
        Person(np.zeros((25, 3), np.float32))
