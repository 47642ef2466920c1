"""What is done to the poses of a clip: in which order, and what a frame needs of the others."""

import numpy as np
import pytest
from poses.walkers import ADULT, walking

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.repair import PoseTreatment


def test_nothing_is_done_by_default() -> None:
    poses = walking(ADULT, 3)
    treatment = PoseTreatment()
    assert not treatment.needs_whole_clip
    assert all(after is before for before, after in zip(poses, treatment(poses), strict=True))


def test_doubtful_points_are_missing_also_without_the_rest_of_the_clip() -> None:
    (pose,) = walking(ADULT, 1)
    pose.people[0].body[4, 2] = 0.2
    treatment = PoseTreatment(min_confidence=0.3)
    assert not treatment.needs_whole_clip
    assert treatment.frame(pose).people[0].body[4].tolist() == [0, 0, 0]
    assert (treatment.frame(pose).people[0].body[:4, 2] == 1).all()
    assert pose.people[0].body[4, 2] == np.float32(0.2)


def test_doubtful_points_are_filled_from_the_frames_around() -> None:
    poses = walking(ADULT, 5)
    poses[2].people[0].body[4] = 5, 5, 0.1
    wrist = PoseTreatment(min_confidence=0.3, longest_gap_frames=1)(poses)[2].people[0].body[4]
    np.testing.assert_allclose(wrist[:2], (poses[1].people[0].body[4, :2] + poses[3].people[0].body[4, :2]) / 2)


def test_missing_frames_are_filled_before_smoothing() -> None:
    poses = walking(ADULT, 15)
    poses[7] = Pose((), 512, 512)
    treated = PoseTreatment(fill_missing=True, smooth_window_frames=5)(poses)
    assert all(pose.has_person for pose in treated)
    assert treated[7].people[0].body[1, 0] == pytest.approx(200 + 4 * 7, abs=0.1)


def test_one_person_of_two_is_repaired_alone() -> None:
    left, right = walking(ADULT, 9, left_px=90), walking(ADULT, 9, left_px=340)
    poses = [Pose(a.people + b.people, 512, 512) for a, b in zip(left, right, strict=True)]
    poses[4] = left[4]
    treatment = PoseTreatment(person="1", fill_missing=True)
    assert [pose.has_person for pose in treatment.chosen(poses)] == [frame != 4 for frame in range(9)]
    middle = treatment(poses)[4]
    assert len(middle.people) == 1
    assert middle.people[0].body[1, 0] == pytest.approx(340 + 16, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_confidence": 1.5}, "1.5"),
        ({"longest_gap_frames": -1}, "-1"),
        ({"smooth_window_frames": 4}, "got 4"),
    ],
)
def test_values_out_of_range_are_refused(changes, words) -> None:
    with pytest.raises(UserError, match=words):
        PoseTreatment(**changes)
