"""Poses followed: known errors, and COCO's own formula."""

import numpy as np
import pytest
from measure.made_frames import STANDING, measured, plain, pose

from masactrl_video.measure.following import Following
from masactrl_video.measure.moments import Moment
from masactrl_video.poses.agreement import similarity
from masactrl_video.poses.pose import Pose

OF_COCO = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
"""Our 18 points in the order of COCO's 17."""
SIGMAS = (
    np.array([0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89])
    / 10
)
"""As pycocotools has them."""


def followed(found: list[Pose], wanted: list[Pose]) -> dict[str, float]:
    moments = [Moment(at, plain(0), wanted=w, found=f) for at, (f, w) in enumerate(zip(found, wanted, strict=True))]
    return {name: figure.value for name, figure in measured(Following(), moments).items()}


def test_a_pose_with_itself_is_perfect() -> None:
    assert followed([pose()] * 2, [pose()] * 2) == {"pose-pck-torso": 1, "pose-pck-head": 1, "pose-oks": 1}


def test_oks_is_pycocotools() -> None:
    moved = STANDING + np.random.default_rng(0).normal(0, 3, STANDING.shape).astype(np.float32)
    wanted, found = STANDING[OF_COCO].astype(float), moved[OF_COCO].astype(float)
    area = 0.53 * np.ptp(STANDING[:, 0].astype(float)) * np.ptp(STANDING[:, 1].astype(float))
    squares = np.square(found - wanted).sum(axis=1)
    e = squares / (SIGMAS * 2) ** 2 / (area + np.spacing(1)) / 2
    expected = np.sum(np.exp(-e)) / e.shape[0]
    assert followed([pose(points=moved)], [pose()])["pose-oks"] == pytest.approx(expected, abs=1e-6)


def test_a_point_counts_strictly_below_the_bound_and_joints_are_averaged() -> None:
    torso = float(np.linalg.norm(STANDING[5] - STANDING[8]))
    below, above = 0.2 * torso * 0.999, 0.2 * torso * 1.001
    assert followed([pose((below, 0))], [pose()])["pose-pck-torso"] == 1
    assert followed([pose((above, 0))], [pose()])["pose-pck-torso"] == 0
    # the first frame wants all points and misses two of them, the second wants ten and has them
    wanted = [pose(), pose(without=range(10, 18))]
    found = [pose(without=[4, 17]), pose(without=range(10, 18))]
    shares = [1.0] * 18
    shares[4], shares[17] = 0.5, 0.0
    assert followed(found, wanted)["pose-pck-torso"] == pytest.approx(np.mean(shares), abs=1e-12)


def test_the_head_is_the_neck_to_the_nose() -> None:
    assert followed([pose((2.9, 0))], [pose()])["pose-pck-head"] == 1  # half of 6 px
    assert followed([pose((3.1, 0))], [pose()])["pose-pck-head"] == 0


def test_a_person_who_is_not_found_counts_as_missed() -> None:
    nobody = Pose((), 64, 64)
    values = followed([nobody, pose()], [pose(), pose()])
    assert values == {"pose-pck-torso": 0.5, "pose-pck-head": 0.5, "pose-oks": 0.5}


def test_frames_in_which_nobody_is_wanted_are_passed_over() -> None:
    assert followed([pose(), pose((30, 0))], [pose(), Pose((), 64, 64)])["pose-oks"] == 1
    assert followed([pose()], [Pose((), 64, 64)]) == {}


def test_people_are_matched_whatever_their_order() -> None:
    left, right = pose((-20, 0)).people[0], pose((20, 0)).people[0]
    values = followed([Pose((left, right), 64, 64)], [Pose((right, left), 64, 64)])
    assert values["pose-oks"] == 1


def test_without_a_torso_there_is_no_share_of_it() -> None:
    wanted = pose(without=[5, 8])
    assert "pose-pck-torso" not in followed([pose()], [wanted])
    assert np.isnan(similarity(pose().people[0].body, pose(without=range(1, 18)).people[0].body))
