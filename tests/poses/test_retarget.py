"""A clip of one body for another: bones have the target's lengths, angles stay, feet stay on the ground."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from poses.walkers import ADULT, CHILD, angles, apart_degrees, lengths_of, standing, walking

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_clip import read_sequence
from masactrl_video.poses.proportions import given_lengths, measure
from masactrl_video.poses.repair import PoseTreatment
from masactrl_video.poses.retarget import retarget
from masactrl_video.poses.skeleton import ANKLES, BODY_BONES, BONE_NAMES, HIPS, bone_lengths, full_lengths
from masactrl_video.poses.tracking import Track, tracks_of


def track(poses: list[Pose]) -> Track:
    (only,) = tracks_of(poses)
    return only


def hand_at(wrist: np.ndarray, size_px: float) -> np.ndarray:
    points = np.random.default_rng(3).uniform(-size_px, size_px, (21, 3))
    points[0] = 0
    points[:, :2] += wrist[:2]
    points[:, 2] = 1
    return points.astype(np.float32)


@pytest.mark.parametrize(("own", "target"), [(ADULT, CHILD), (CHILD, ADULT)])
def test_every_bone_has_the_targets_length_and_its_own_angle_in_every_frame(own, target) -> None:
    before = track(walking(own, 40))
    after = retarget(before, lengths_of(target)).parts["body"]
    error = np.abs(bone_lengths(after, BODY_BONES) / lengths_of(target) - 1)
    turned = apart_degrees(angles(before.parts["body"]), angles(after))
    assert error.max() < 0.02
    assert turned.max() < 0.5


def test_the_same_body_stays_as_it_is() -> None:
    before = track(walking(ADULT, 20))
    np.testing.assert_allclose(retarget(before, lengths_of(ADULT)).parts["body"], before.parts["body"], atol=0.01)


@pytest.mark.parametrize("target", [CHILD, {name: 1.3 * length for name, length in ADULT.items()}])
def test_the_lower_ankle_stays_on_the_ground(target) -> None:
    after = retarget(track(walking(ADULT, 40)), lengths_of(target)).parts["body"]
    np.testing.assert_allclose(after[:, ANKLES, 1].max(axis=1), 450, atol=0.05)


def test_the_way_of_the_root_grows_with_the_legs() -> None:
    before = track(walking(ADULT, 40)).parts["body"]
    target = {name: length / 2 if name.endswith(("thigh", "shin")) else length for name, length in ADULT.items()}
    after = retarget(track(walking(ADULT, 40)), lengths_of(target)).parts["body"]
    ways = [body[:, HIPS, 0].mean(axis=1) for body in (before, after)]
    np.testing.assert_allclose(ways[1] - ways[1][0], (ways[0] - ways[0][0]) / 2, atol=0.01)


def test_a_jump_leaves_the_ground_by_as_much_as_the_legs_are_long() -> None:
    poses = walking(ADULT, 30)
    for frame in range(10, 15):
        poses[frame].people[0].body[:, 1] -= 40
    target = {name: length / 2 for name, length in ADULT.items()}
    after = retarget(track(poses), lengths_of(target)).parts["body"]
    assert after[12, ANKLES, 1].max() == pytest.approx(450 - 20, abs=0.05)


def test_foreshortening_is_kept_as_a_share_of_the_full_length() -> None:
    poses = walking(ADULT, 30)
    for frame in range(10, 20):  # the right forearm points half at the camera
        body = poses[frame].people[0].body
        body[4, :2] = body[3, :2] + (body[4, :2] - body[3, :2]) / 2
    forearm = BONE_NAMES.index("right-forearm")
    kept = bone_lengths(retarget(track(poses), lengths_of(CHILD), keep_foreshortening=True).parts["body"], BODY_BONES)
    plain = bone_lengths(retarget(track(poses), lengths_of(CHILD)).parts["body"], BODY_BONES)
    np.testing.assert_allclose(kept[10:20, forearm], CHILD["right-forearm"] / 2, rtol=0.001)
    np.testing.assert_allclose(kept[:10, forearm], CHILD["right-forearm"], rtol=0.001)
    np.testing.assert_allclose(plain[:, forearm], CHILD["right-forearm"], rtol=0.001)


def test_a_bone_that_points_straight_at_the_camera_takes_the_direction_of_the_frames_around() -> None:
    poses = walking(ADULT, 3)
    poses[1].people[0].body[4] = poses[1].people[0].body[3]
    after = retarget(track(poses), lengths_of(CHILD)).parts["body"]
    directions = angles(after)[:, BONE_NAMES.index("right-forearm")]
    assert min(directions[0], directions[2]) < directions[1] < max(directions[0], directions[2])


@settings(max_examples=25)
@given(missing=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 17)), max_size=60))
def test_missing_points_stay_missing_and_no_bone_that_is_drawn_is_torn(missing) -> None:
    poses = walking(ADULT, 12)
    for frame, point in missing:
        poses[frame].people[0].body[point] = 0
    before = track(poses)
    after = retarget(before, lengths_of(CHILD)).parts["body"]
    np.testing.assert_array_equal(after[..., 2] > 0, before.parts["body"][..., 2] > 0)
    lengths = bone_lengths(after, BODY_BONES)
    drawn = ~np.isnan(bone_lengths(before.parts["body"], BODY_BONES))
    np.testing.assert_array_equal(~np.isnan(lengths), drawn)
    error = np.abs(lengths / lengths_of(CHILD) - 1)
    assert error[drawn].max() < 0.02
    assert np.nanmax(apart_degrees(angles(before.parts["body"]), angles(after))) < 0.5
    assert np.abs(after[..., :2]).max() < 1000


def test_a_wrist_without_an_elbow_stays_near_its_shoulder() -> None:
    poses = walking(ADULT, 5)
    for pose in poses:
        pose.people[0].body[3] = 0
    before = track(poses).parts["body"]
    after = retarget(track(poses), lengths_of({name: length / 2 for name, length in ADULT.items()})).parts["body"]
    np.testing.assert_allclose(after[:, 4, :2] - after[:, 2, :2], (before[:, 4, :2] - before[:, 2, :2]) / 2, atol=0.01)


def test_bones_that_the_reference_lacks_come_from_the_other_side_or_are_scaled_like_the_rest() -> None:
    half = {name: length / 2 for name, length in ADULT.items()}
    reference = lengths_of(half)
    for name in ("left-thigh", "neck", "right-eye", "left-eye"):
        reference[BONE_NAMES.index(name)] = np.nan
    after = bone_lengths(retarget(track(walking(ADULT, 5)), reference).parts["body"], BODY_BONES)
    np.testing.assert_allclose(after, np.tile(lengths_of(half), (5, 1)), rtol=0.001)


def test_an_upper_body_hangs_on_its_neck() -> None:
    poses = walking(ADULT, 10, step_px=6)
    for pose in poses:
        pose.people[0].body[8:14] = 0
    before, after = track(poses), retarget(track(poses), lengths_of(CHILD))
    ways = [body.parts["body"][:, 1, 0] for body in (before, after)]
    ratio = np.sum([CHILD[n] for n in BONE_NAMES if "trunk" not in n and "thigh" not in n and "shin" not in n])
    ratio /= np.sum([ADULT[n] for n in BONE_NAMES if "trunk" not in n and "thigh" not in n and "shin" not in n])
    np.testing.assert_allclose(ways[1] - ways[1][0], (ways[0] - ways[0][0]) * ratio, atol=0.01)


def test_hands_grow_with_the_forearm_and_the_face_with_the_head() -> None:
    poses = []
    for pose in walking(ADULT, 6):
        body = pose.people[0].body
        face = np.concatenate(
            [body[0, :2] + np.random.default_rng(5).uniform(-9, 9, (70, 2)), np.ones((70, 1))], axis=1
        )
        person = Person(body, face.astype(np.float32), hand_at(body[7], 12), hand_at(body[4], 12))
        poses.append(Pose((person,), 512, 512))
    target = ADULT | {"right-forearm": 25, "left-forearm": 100}
    target |= {f"{side}-{part}": ADULT[f"{side}-{part}"] * 1.5 for side in ("right", "left") for part in ("eye", "ear")}
    before, after = track(poses).parts, retarget(track(poses), lengths_of(target)).parts
    for name, anchor, ratio in (("right_hand", 4, 0.5), ("left_hand", 7, 2), ("face", 0, 1.5)):
        offsets = [parts[name][..., :2] - parts["body"][:, anchor, None, :2] for parts in (before, after)]
        np.testing.assert_allclose(offsets[1], ratio * offsets[0], atol=0.01)


def test_several_people_get_the_same_body() -> None:
    pairs = zip(walking(ADULT, 8, left_px=100), walking(CHILD, 8, left_px=350), strict=True)
    poses = [Pose(first.people + second.people, 512, 512) for first, second in pairs]
    treated = PoseTreatment(target_lengths_px=lengths_of(CHILD))(poses)
    for person in (person for pose in treated for person in pose.people):
        np.testing.assert_allclose(bone_lengths(person.body, BODY_BONES), lengths_of(CHILD), rtol=0.001)


def test_lengths_are_measured_or_given_by_name() -> None:
    measured = measure(standing(CHILD))
    np.testing.assert_allclose(measured, lengths_of(CHILD), rtol=1e-5)
    given = given_lengths({"right-thigh": 90})
    assert given[BONE_NAMES.index("right-thigh")] == 90
    assert np.isnan(given).sum() == 16


@pytest.mark.parametrize(("name", "length"), [("right-toe", 1), ("neck", 0), ("neck", float("nan"))])
def test_lengths_that_cannot_be_are_refused(name: str, length: float) -> None:
    with pytest.raises(UserError, match=name):
        given_lengths({name: length})


def test_bodies_without_a_common_bone_are_refused() -> None:
    dot = np.zeros((18, 3), np.float32)
    dot[4] = 5, 5, 1
    with pytest.raises(UserError, match="no whole bone"):
        measure(Person(dot))
    with pytest.raises(UserError, match="no bone in common"):
        retarget(track([Pose((Person(dot),), 9, 9)]), lengths_of(CHILD))


def test_a_real_clip_gets_the_proportions_of_a_real_reference(shared_folder) -> None:
    keypoints = shared_folder / "data" / "keypoints"
    before = track(read_sequence(keypoints / "signing-gebaerden", (640, 480)))
    reference = measure(read_sequence(keypoints / "editor-coco18-pixels.json")[0].people[0])
    after = retarget(before, reference).parts["body"]
    known = ~np.isnan(reference)
    error = np.abs(bone_lengths(after, BODY_BONES)[:, known] / reference[known] - 1)
    turned = apart_degrees(angles(before.parts["body"]), angles(after))
    assert known.sum() == 11
    assert np.nanmax(error) < 0.02
    assert np.nanmax(turned) < 0.5
    assert not np.isnan(full_lengths(after, BODY_BONES)[known]).any()
