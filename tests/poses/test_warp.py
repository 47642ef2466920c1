"""Where what a source shows is in a frame: with its limb, or where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from masactrl_video.poses.named_poses import joined, named_pose, placed_in
from masactrl_video.poses.pose import BODY_NAMES, Person, Pose
from masactrl_video.poses.warp import Skeleton, Skeletons, moved_places, moves, told_apart

GRID = (32, 32)
CELL_PX = 16
STANDING = named_pose("standing")


def shifted(pose: Pose, x_px: float, y_px: float) -> Pose:
    return pose.transform(lambda xy: xy + np.array([x_px, y_px]), width_px=pose.width_px, height_px=pose.height_px)


def shift(source: Pose, frame: Pose) -> NDArray[np.float64]:
    """(rows, columns, 2): by how many rows and columns each token moves."""
    places = moved_places(Skeleton.of(source), Skeleton.of(frame), GRID)
    still = np.stack(np.indices(GRID), axis=-1)
    return places.reshape(*GRID, 2) - still


def without(pose: Pose, *names: str) -> Pose:
    body = pose.people[0].body.copy()
    body[[BODY_NAMES.index(name) for name in names]] = 0
    return replace(pose, people=(Person(body),))


def cell(pose: Pose, name: str) -> tuple[int, int]:
    """Row and column of the token that a point lies on."""
    x, y, _ = pose.people[0].body[BODY_NAMES.index(name)]
    return int(y // CELL_PX), int(x // CELL_PX)


def test_the_same_skeleton_moves_nothing_to_the_bit() -> None:
    assert not moves(Skeleton.of(STANDING), Skeleton.of(STANDING))
    assert not shift(STANDING, STANDING).any()


def test_a_person_who_goes_whole_tokens_takes_them_along_and_leaves_the_background() -> None:
    found = shift(STANDING, shifted(STANDING, 3 * CELL_PX, -2 * CELL_PX))
    gone = (found != 0).any(axis=-1)
    assert (found[gone] == [-2, 3]).all()
    assert gone[cell(STANDING, "left wrist")]
    assert gone[cell(STANDING, "nose")]
    assert gone[20, 16]  # the belly
    assert not gone[0].any()
    assert not gone[:, 0].any()
    assert 0.1 < gone.mean() < 0.5


def test_a_forearm_turns_and_the_rest_stays() -> None:
    body = STANDING.people[0].body.copy()
    elbow, wrist = BODY_NAMES.index("right elbow"), BODY_NAMES.index("right wrist")
    x, y = body[wrist, :2] - body[elbow, :2]
    body[wrist, :2] = body[elbow, :2] + [-y, x]  # a quarter turn
    found = shift(STANDING, replace(STANDING, people=(Person(body),)))
    row, column = cell(STANDING, "right wrist")
    at = np.array([column + 0.5, row + 0.5]) * CELL_PX
    from_elbow = at - body[elbow, :2]
    wanted = body[elbow, :2] + [-from_elbow[1], from_elbow[0]]
    assert np.abs(found[row, column][::-1] * CELL_PX - (wanted - at)).max() < 0.01
    for name in ("left wrist", "neck", "right ankle"):
        assert not found[cell(STANDING, name)].any()


def test_a_person_who_is_half_as_large_takes_everything_along() -> None:
    small = STANDING.transform(lambda xy: xy / 2, width_px=512, height_px=512)
    found = shift(STANDING, small)
    for row, column in ((20, 16), cell(STANDING, "left ankle"), cell(STANDING, "left shoulder")):
        at = np.array([row, column]) + 0.5
        assert np.abs(found[row, column] + at / 2).max() < 0.01


def test_a_limb_that_a_frame_does_not_show_goes_with_its_neighbour_and_a_person_stays() -> None:
    hidden = without(shifted(STANDING, CELL_PX, 0), "right wrist", "left ankle", "left knee")
    found = shift(STANDING, hidden)
    assert (found[cell(STANDING, "right elbow")] == [0, 1]).all()
    nobody = without(STANDING, *BODY_NAMES)
    assert not shift(STANDING, nobody).any()
    assert not shift(STANDING, replace(STANDING, people=())).any()
    assert not shift(nobody, STANDING).any()


def test_without_a_torso_the_limbs_tell_the_size() -> None:
    legs = without(STANDING, *(name for name in BODY_NAMES if name.split()[-1] not in ("hip", "knee", "ankle")))
    found = shift(legs, shifted(legs, 0, CELL_PX))
    assert (found[cell(STANDING, "left knee")] == [1, 0]).all()
    assert not found[cell(STANDING, "nose")].any()


def test_several_people_go_each_their_own_way() -> None:
    boxes = [(0, 0, 256, 512), (256, 0, 512, 512)]
    left, right = (placed_in(STANDING, box, 512, 512) for box in boxes)
    found = shift(joined([left, right]), joined([shifted(left, 0, -CELL_PX), shifted(right, CELL_PX, 0)]))
    assert (found[cell(left, "left hip")] == [-1, 0]).all()
    assert (found[cell(right, "left hip")] == [0, 1]).all()


@pytest.mark.parametrize("canvas", [(512, 512), (768, 512)])
def test_the_frames_may_have_another_canvas(canvas: tuple[int, int]) -> None:
    frame = STANDING.transform(lambda xy: xy + np.array([2 * CELL_PX, 0]), width_px=canvas[0], height_px=canvas[1])
    assert (shift(STANDING, frame)[20, 16] == [0, 2]).all()


def test_people_are_told_apart_in_a_clip_and_in_pictures_outside_it() -> None:
    boxes = [(0, 0, 256, 512), (256, 0, 512, 512)]
    left, right = (placed_in(STANDING, box, 512, 512) for box in boxes)
    clip = [joined([right, left]), joined([left, right])]  # a detector's order
    frames, (outside,) = told_apart(clip, [joined([right, left])])
    assert frames[0].people == frames[1].people == outside.people
    far = [shifted(left, 0, 0), shifted(left, 250, 0)]
    frames, (outside,) = told_apart(far, [right])
    assert [len(frame.people) for frame in frames] == [1, 1]  # one person in each is one person
    assert Skeletons((outside,), tuple(frames)).unfollowed() == []


def test_frames_without_a_person_of_the_source_are_named() -> None:
    empty = replace(STANDING, people=())
    frames, (outside,) = told_apart([STANDING, empty, STANDING], [STANDING])
    assert Skeletons((outside,), tuple(frames)).unfollowed() == [1]
