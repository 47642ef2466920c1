"""Poses between key poses."""

from typing import get_args

import numpy as np
import pytest
from poses.walkers import _REST, ADULT, angles, apart_degrees, lengths_of, standing

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.skeleton import BODY_BONES, BONE_NAMES, HAND_BONES, bone_lengths
from masactrl_video.poses.tween import tween
from masactrl_video.settings.names import Easing

EASINGS = get_args(Easing)


def key(hand_degrees: float = 0, *, place: tuple[float, float] = (256, 150), **turned: float) -> Pose:
    """A standing body with some bones turned, and a right hand whose fingers point to hand_degrees."""
    degrees = list(_REST)
    for name, angle in turned.items():
        degrees[BONE_NAMES.index(name.replace("_", "-"))] = angle
    body = standing(ADULT, tuple(degrees), place).body
    hand = np.zeros((21, 3), np.float32)
    hand[:, 2] = 1
    for parent, child in HAND_BONES:
        spread = np.radians(hand_degrees + 10 * (child // 4))
        hand[child, :2] = hand[parent, :2] + 6 * np.array([np.cos(spread), np.sin(spread)])
    hand[:, :2] += body[4, :2]
    turn = np.radians(degrees[12] + 90)
    face = np.random.default_rng(1).uniform(-10, 10, (70, 2)) @ np.array(
        [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    )
    face = np.concatenate([face + body[0, :2], np.ones((70, 1))], axis=1).astype(np.float32)
    return Pose((Person(body, face, right_hand=hand),), 512, 512)


UP = {"right_upper_arm": 250, "right_forearm": 260, "neck": 290}
KEYS = [key(), key(90, **UP), key(-60, right_upper_arm=170, left_thigh=70)]


def bodies(poses: list[Pose]) -> np.ndarray:
    return np.stack([pose.people[0].body for pose in poses]).astype(np.float64)


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("loop", [False, True])
def test_keys_are_met_and_no_bone_changes_its_length(easing, loop) -> None:
    poses = tween(KEYS, [0, 8, 20, 30][: 3 + loop], easing=easing, loop=loop)
    assert len(poses) == (30 if loop else 21)
    for frame, wanted in zip((0, 8, 20), KEYS, strict=True):
        for name, points in wanted.people[0].parts().items():
            np.testing.assert_allclose(poses[frame].people[0].parts()[name], points, atol=0.01)
    np.testing.assert_allclose(
        bone_lengths(bodies(poses), BODY_BONES), np.tile(lengths_of(ADULT), (len(poses), 1)), atol=0.01
    )
    hands = np.stack([pose.people[0].right_hand for pose in poses]).astype(np.float64)
    np.testing.assert_allclose(bone_lengths(hands, HAND_BONES), 6, atol=0.01)


def test_angles_go_the_shorter_way_at_an_even_pace() -> None:
    found = np.degrees(angles(bodies(tween([key(right_upper_arm=170), key(right_upper_arm=-170)], [0, 4]))))
    np.testing.assert_allclose(
        found[:, BONE_NAMES.index("right-upper-arm")] % 360, [170, 175, 180, 185, 190], atol=0.01
    )


def test_easing_rests_at_the_keys() -> None:
    arm = BONE_NAMES.index("right-upper-arm")

    def speeds(easing: Easing) -> np.ndarray:
        found = np.unwrap(
            angles(
                bodies(
                    tween(
                        [key(right_upper_arm=0), key(right_upper_arm=90), key(right_upper_arm=150)],
                        [0, 10, 20],
                        easing=easing,
                    )
                )
            ),
            axis=0,
        )
        return np.diff(np.degrees(found[:, arm]))

    np.testing.assert_allclose(speeds("linear"), [9] * 10 + [6] * 10, atol=0.01)
    eased = speeds("ease-in-out")
    assert max(eased[[0, 9, 10, 19]]) < 3 < 12 < eased[5]
    curved = speeds("catmull-rom")
    assert abs(curved[10] - curved[9]) < 0.7  # no corner at the key in the middle, where linear changes by 3
    assert 7 < curved[9] < 8


@pytest.mark.parametrize("easing", EASINGS)
def test_a_loop_closes(easing) -> None:
    poses = bodies(tween(KEYS, [0, 10, 20, 30], easing=easing, loop=True))
    steps = np.linalg.norm(np.roll(poses, -1, axis=0) - poses, axis=2).max(axis=1)
    assert steps[-1] <= steps[:-1].max() + 0.01
    assert steps[-1] > 0  # the first frame is not shown twice


def test_the_middle_of_the_hips_goes_straight() -> None:
    poses = bodies(tween([key(), key(place=(300, 200), right_trunk=120, left_trunk=100)], [0, 10]))
    hips = poses[:, [8, 11], :2].mean(axis=1)
    np.testing.assert_allclose(hips, np.linspace(hips[0], hips[-1], 11), atol=0.01)


def test_hands_and_face_stay_on_the_body() -> None:
    for pose in tween([key(), key(**UP)], [0, 10], easing="catmull-rom"):
        person = pose.people[0]
        np.testing.assert_allclose(person.right_hand[0, :2], person.body[4, :2], atol=0.01)
        face = person.face[:, :2] - person.body[0, :2]
        np.testing.assert_allclose(
            np.linalg.norm(face, axis=1),
            np.linalg.norm(key().people[0].face[:, :2] - key().people[0].body[0, :2], axis=1),
            atol=0.02,
        )


def test_a_point_that_one_key_lacks_is_there_while_the_other_is_nearer() -> None:
    lacking = key(**UP)
    lacking.people[0].body[3] = 0
    poses = tween([key(), lacking], [0, 4])
    assert [pose.people[0].body[3, 2] > 0 for pose in poses] == [True, True, True, False, False]
    assert all(pose.people[0].body[4, 2] > 0 for pose in poses)
    first = poses[1].people[0].body
    assert np.linalg.norm(first[3, :2] - first[2, :2]) == pytest.approx(ADULT["right-upper-arm"], abs=0.01)


def test_two_people_are_told_apart() -> None:
    def pair(shift: float, swap: bool) -> Pose:
        people = key(place=(100 + shift, 150)).people + key(place=(400 + shift, 150)).people
        return Pose(people[::-1] if swap else people, 512, 512)

    poses = tween([pair(0, False), pair(20, True)], [0, 4])
    np.testing.assert_allclose([pose.people[0].body[1, 0] for pose in poses], [100, 105, 110, 115, 120], atol=0.01)


@pytest.mark.parametrize(
    ("keys", "at", "loop", "words"),
    [
        (1, [0], False, "two or more"),
        (3, [0, 5], False, "2 frame numbers for 3 key poses"),
        (3, [0, 5, 9], True, "for the return"),
        (2, [1, 5], False, "begin with 0"),
        (2, [0, 0], False, "ascend"),
        (2, [0, 10**9], False, "end by"),
    ],
)
def test_key_frames_that_cannot_be_are_refused(keys, at, loop, words) -> None:
    with pytest.raises(UserError, match=words):
        tween(KEYS[:keys], at, loop=loop)


def test_canvases_are_brought_together() -> None:
    large = KEYS[0].scaled(width_px=1024, height_px=1024)
    poses = tween([KEYS[0], large], [0, 2])
    np.testing.assert_allclose(poses[2].people[0].body, KEYS[0].people[0].body, atol=0.01)
    assert apart_degrees(angles(bodies(poses)), angles(bodies([KEYS[0]] * 3))).max() < 0.01
