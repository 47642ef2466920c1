"""Noise that follows a body: the same numbers, at other places; where nothing moves, all stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from masactrl_video.demo.world.poses import pose_of
from masactrl_video.poses.carried import carried_places, places_picture, read_places
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.tracking import ABSENT

SIZE_PX, GRID = 256, (32, 32)
STAY = np.arange(GRID[0] * GRID[1])


def posed(action: str = "standing", phase: float = 0.0, x: float = 0.5) -> Pose:
    body = np.ones((18, 3), np.float32)
    body[:, :2] = SIZE_PX * pose_of(action, phase, x=x, ground=0.94, height=0.7).keypoints()
    return Pose((Person(body),), SIZE_PX, SIZE_PX)


def cell(pose: Pose, point: int) -> int:
    x, y = pose.people[0].body[point, :2] * GRID[0] / SIZE_PX
    return int(y) * GRID[1] + int(x)


def test_where_nothing_moves_every_point_stays() -> None:
    np.testing.assert_array_equal(carried_places(posed(), posed(), GRID), STAY)
    nobody = replace(posed(), people=(ABSENT,))
    np.testing.assert_array_equal(carried_places(nobody, posed(), GRID), STAY)
    np.testing.assert_array_equal(carried_places(posed(), nobody, GRID), STAY)


@pytest.mark.parametrize("action", ["dancing", "kicking", "walking"])
def test_each_point_of_the_noise_is_used_once(action: str) -> None:
    places = carried_places(posed(), posed(action, 0.3, x=0.45), GRID)
    np.testing.assert_array_equal(np.sort(places), STAY)
    assert (places != STAY).any()


def test_a_body_that_walks_on_takes_its_noise_along() -> None:
    """By four cells to the right: so does the noise of all its points, and what is far from it stays."""
    before, after = posed(x=0.4), posed(x=0.4 + 4 / GRID[1])
    places = carried_places(before, after, GRID).reshape(GRID)
    for point in range(14):
        row, column = divmod(cell(after, point), GRID[1])
        assert places[row, column] == row * GRID[1] + column - 4
    np.testing.assert_array_equal(places[:2], STAY.reshape(GRID)[:2])
    np.testing.assert_array_equal(places[:, -4:], STAY.reshape(GRID)[:, -4:])


def test_a_limb_that_turns_takes_its_noise_along_and_the_rest_stays() -> None:
    before = posed()
    after = replace(before, people=(Person(before.people[0].body.copy()),))
    shoulder, elbow, wrist = (before.people[0].body[point, :2] for point in (5, 6, 7))
    way = elbow - shoulder
    after.people[0].body[6, :2] = shoulder + np.array([way[1], -way[0]])  # a quarter turn
    after.people[0].body[7, :2] = after.people[0].body[6, :2] + wrist - elbow
    places = carried_places(before, after, GRID)
    assert abs(places[cell(after, 6)] - cell(before, 6)) in (0, 1, GRID[1] - 1, GRID[1], GRID[1] + 1)  # next to it
    assert places[cell(after, 10)] == cell(before, 10)


def test_places_are_read_as_they_were_drawn() -> None:
    grid = (300, 260)
    places = np.random.default_rng(0).permutation(grid[0] * grid[1])
    picture = places_picture(places, grid, (900, 1040))
    assert picture.shape == (900, 1040, 3)
    np.testing.assert_array_equal(read_places(picture, grid), places)
    with pytest.raises(ValueError, match="too large"):
        places_picture(places, (5000, 2), (5000, 2))
