"""People told apart over time."""

from dataclasses import replace

import numpy as np
import pytest
from poses.walkers import ADULT, CHILD, walking

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.tracking import choose_person, track_people


def together(*clips: list[Pose]) -> list[Pose]:
    """Everybody of several clips, in an order that changes from frame to frame."""
    poses = []
    for frame, parts in enumerate(zip(*clips, strict=True)):
        people = [person for pose in parts for person in pose.people]
        order = np.random.default_rng(frame).permutation(len(people)) if frame else range(len(people))
        poses.append(Pose(tuple(people[i] for i in order), 512, 512))
    return poses


def bodies(poses: list[Pose], number: int) -> np.ndarray:
    return np.stack([pose.people[number].body for pose in poses])


def test_people_who_cross_keep_their_numbers_whatever_the_order_of_the_lists() -> None:
    first, second = walking(ADULT, 30, step_px=8, left_px=100), walking(CHILD, 30, step_px=-8, left_px=340)
    tracked = track_people(together(first, second))
    np.testing.assert_array_equal(bodies(tracked, 0), bodies(first, 0))
    np.testing.assert_array_equal(bodies(tracked, 1), bodies(second, 0))


def test_twins_who_cross_are_told_apart_by_their_motion() -> None:
    first, second = walking(ADULT, 30, step_px=10, left_px=100), walking(ADULT, 30, step_px=-10, left_px=395)
    tracked = track_people(together(first, second))
    np.testing.assert_array_equal(bodies(tracked, 0), bodies(first, 0))


def test_who_is_out_of_sight_for_a_while_keeps_their_number() -> None:
    first, second = walking(ADULT, 20, left_px=100), walking(ADULT, 20, left_px=350)
    hidden = [Pose((), 512, 512) if 5 <= frame < 9 else pose for frame, pose in enumerate(first)]
    tracked = track_people(together(hidden, second))
    assert [pose.people[0].visible for pose in tracked] == [not 5 <= frame < 9 for frame in range(20)]
    np.testing.assert_array_equal(bodies(tracked, 1), bodies(second, 0))


def test_somebody_far_away_is_somebody_else() -> None:
    here, there = walking(CHILD, 1, left_px=50)[0], walking(CHILD, 1, left_px=450)[0]
    tracked = track_people([here, there, here])
    assert [[person.visible for person in pose.people] for pose in tracked] == [
        [True, False],
        [False, True],
        [True, False],
    ]


def test_a_hand_alone_is_followed() -> None:
    def hand(x: float) -> Person:
        points = np.array([[x + i, 20 + 2 * i, 1] for i in range(21)], np.float32)
        return Person(np.zeros((18, 3), np.float32), left_hand=points)

    poses = [Pose((hand(10), hand(300)), 512, 512), Pose((hand(305), hand(15)), 512, 512)]
    assert track_people(poses)[1].people[0].left_hand[0, 0] == 15


def test_one_is_chosen_by_number_or_by_size() -> None:
    small, large = walking(CHILD, 6, left_px=80), walking(ADULT, 6, left_px=300)
    tracked = track_people(together(small, large))
    np.testing.assert_array_equal(bodies(choose_person(tracked, "largest"), 0), bodies(large, 0))
    np.testing.assert_array_equal(bodies(choose_person(tracked, "0"), 0), bodies(small, 0))
    assert {len(pose.people) for pose in choose_person(tracked, "1")} == {1}


def test_frames_without_the_chosen_one_are_empty() -> None:
    poses = walking(ADULT, 4)
    poses[2] = replace(poses[2], people=())
    assert [pose.has_person for pose in choose_person(track_people(poses), "0")] == [True, True, False, True]


def test_there_must_be_such_a_person() -> None:
    with pytest.raises(UserError, match="got 1; 1 person told apart"):
        choose_person(track_people(walking(ADULT, 2)), "1")
    with pytest.raises(UserError, match="nobody is in any of the 2 frames"):
        choose_person(track_people([Pose((), 8, 8)] * 2), "largest")
