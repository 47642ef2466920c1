"""Whose a part of the picture is: by skeletons, who stands in front before who stands behind."""

from __future__ import annotations

import numpy as np

from masactrl_video.demo.world.poses import pose_of
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.tracking import ABSENT
from masactrl_video.poses.whose import as_picture, whose_points

SIZE_PX = 128


def standing(x: float, ground: float = 0.92) -> Person:
    body = np.ones((18, 3), np.float32)
    body[:, :2] = SIZE_PX * pose_of("standing", 0.0, x=x, ground=ground, height=0.74).keypoints()
    return Person(body)


def both(*people: Person) -> Pose:
    return Pose(people, 2 * SIZE_PX, SIZE_PX)


def test_each_persons_points_are_their_own() -> None:
    pose = both(standing(0.5), standing(1.5))
    whose = whose_points(pose, [0, 1])
    for number, person in enumerate(pose.people, 1):
        columns, rows = person.body[:, :2].astype(int).T
        assert (whose[rows, columns] == number).all()
    assert (whose[:, SIZE_PX] == 0).all()
    assert 0.1 < (whose == 1).mean() < 0.25


def test_who_stands_in_front_hides_who_stands_behind() -> None:
    near, far = standing(0.5, 0.95), standing(0.52, 0.9)
    for pose, front in ((both(near, far), 1), (both(far, near), 2)):
        whose = whose_points(pose, [0, 1])
        columns, rows = near.body[:14, :2].astype(int).T
        assert (whose[rows, columns] == front).all()


def test_who_is_not_shown_or_plays_no_part_has_no_points() -> None:
    whose = whose_points(both(standing(0.5), standing(1.5), ABSENT), [1, 2, 7])
    assert set(np.unique(whose)) == {0, 1}
    assert (whose[:, :SIZE_PX] == 0).all()


def test_in_a_picture_red_is_the_number() -> None:
    whose = whose_points(both(standing(0.5), standing(1.5)), [0, 1])
    picture = as_picture(whose)
    np.testing.assert_array_equal(picture[..., 0], whose)
    assert (picture[whose == 0] == 0).all()
    assert picture[whose > 0].max() > 100
