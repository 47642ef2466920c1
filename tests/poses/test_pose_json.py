import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import read_poses, write_poses

BODY = [number for index in range(18) for number in (10 + index, 100 + index, 1)]


def frame(body=BODY, **more):
    return {"people": [{"pose_keypoints_2d": body, **more}], "canvas_width": 200, "canvas_height": 400}


def saved(tmp_path, content, name="pose.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def only_body(poses):
    return poses[0].people[0].body


def test_a_list_of_frames_and_a_single_frame_are_read(tmp_path):
    assert len(read_poses(saved(tmp_path, [frame(), frame()]))) == 2
    (pose,) = read_poses(saved(tmp_path, frame()))
    assert (pose.width_px, pose.height_px) == (200, 400)
    assert pose.people[0].body[2].tolist() == [12, 102, 1]


def test_coordinates_from_0_to_1_become_pixels_array_by_array(tmp_path):
    body = [number for _ in range(18) for number in (0.5, 1.05, 1)]
    hand = [number for _ in range(21) for number in (50, 60, 1)]
    (pose,) = read_poses(saved(tmp_path, frame(body, hand_left_keypoints_2d=hand)))
    np.testing.assert_allclose(pose.people[0].body[0], [100, 420, 1])
    np.testing.assert_allclose(pose.people[0].left_hand[0], [50, 60, 1])


@pytest.mark.parametrize("missing", [(5, 5, 0), (0, 0, 1), (-1, -1, 1)])
def test_missing_points_have_confidence_0(tmp_path, missing):
    body = only_body(read_poses(saved(tmp_path, frame([*BODY[:9], *missing, *BODY[12:]]))))
    assert body[3].tolist() == [0, 0, 0]
    assert (np.delete(body, 3, axis=0)[:, 2] == 1).all()


def test_a_coordinate_of_minus_one_pixel_is_missing_also_when_normalised(tmp_path):
    hand = [0.3, -1 / 400, 1, *[0.4, 0.5, 1] * 20]
    points = read_poses(saved(tmp_path, frame(hand_left_keypoints_2d=hand)))[0].people[0].left_hand
    assert points[0].tolist() == [0, 0, 0]
    assert (points[1:, 2] == 1).all()


def test_confidence_below_1_is_found(tmp_path):
    body = only_body(read_poses(saved(tmp_path, frame([10, 20, 0.1, *BODY[3:]]))))
    np.testing.assert_allclose(body[0], [10, 20, 0.1])


def test_a_folder_of_body_25_is_read_in_natural_order(tmp_path):
    for number in (10, 2):
        body = [value for index in range(25) for value in (100 * number + index, 7, 0.5)]
        saved(tmp_path, {"version": 1.3, "people": [{"pose_keypoints_2d": body}]}, f"clip_{number}_keypoints.json")
    first, second = read_poses(tmp_path, size_px=(2000, 50))
    assert first.width_px == 2000
    assert first.people[0].body[:, 0].tolist() == [200 + i for i in (*range(8), *range(9, 19))]
    assert second.people[0].body[0, 0] == 1000


def test_a_frame_without_canvas_needs_the_clips_size(tmp_path):
    path = saved(tmp_path, {"people": []})
    with pytest.raises(UserError, match="canvas_width"):
        read_poses(path)
    assert not read_poses(path, size_px=(8, 8))[0].has_person


@pytest.mark.parametrize("nested", [True, False])
def test_old_editors_are_read(tmp_path, nested):
    person = [[10, 20], *[[30, 40]] * 16, None]
    keypoints = [person, person] if nested else person + person
    (pose,) = read_poses(saved(tmp_path, {"width": 64, "height": 48, "keypoints": keypoints}))
    assert (pose.width_px, pose.height_px, len(pose.people)) == (64, 48, 2)
    assert pose.people[1].body[0].tolist() == [10, 20, 1]
    assert pose.people[1].body[17].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "is empty"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "at least one frame"),
        ("3", "frame 0"),
        ([frame(), frame([1, 2, 3])], "frame 1: people\\[0\\].pose_keypoints_2d: 3 numbers"),
        (frame(["a", *BODY[1:]]), "pose_keypoints_2d: a flat list of numbers"),
        (frame([True, *BODY[1:]]), "pose_keypoints_2d: a flat list of numbers"),
        (frame([[1, 2, 3]] * 18), "pose_keypoints_2d: a flat list of numbers"),
        (frame([10**400, *BODY[1:]]), "infinite"),
        (frame([1e30, *BODY[1:]]), "up to 1000000"),
        (frame(face_keypoints_2d=[1, 2, 3]), "face_keypoints_2d: 3 numbers; allowed: 3 x 68 or 3 x 70"),
        (frame() | {"people": None}, "people"),
        (frame() | {"people": [{}] * 1001}, "at most 1000"),
        (frame() | {"people": [7]}, "people\\[0\\]"),
        (frame() | {"canvas_width": 0}, "canvas_width: got 0"),
        (frame() | {"canvas_width": 10.5}, "canvas_width: got 10.5"),
        (frame() | {"canvas_height": None}, "canvas_height: got None"),
        (json.dumps(frame()).replace("100", "NaN"), "NaN"),
        (json.dumps(frame()).replace("200", "1e999"), "canvas_width: got inf"),
        ({"frames": [frame()], "fps": 25}, "its keys are frames, fps"),
        (frame() | {"people": [{"pose_keypoints_3d": BODY, "pose_keypoints_2d": []}]}, "pose_keypoints_3d.*2D"),
        ({"width": 8, "height": 8, "keypoints": [[1, 2]] * 17}, "17 points"),
        ({"width": 8, "height": 8, "keypoints": [[1, 2, 3, 4]] * 18}, "keypoints\\[0\\]"),
    ],
)
def test_bad_input_is_named(tmp_path, content, named):
    path = saved(tmp_path, content)
    with pytest.raises(UserError, match=named) as error:
        read_poses(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_poses(tmp_path / "absent.json")
    with pytest.raises(UserError, match=r"no \.json file"):
        read_poses(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not valid JSON"):
        read_poses(tmp_path / "bytes.json")


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(300 * 1024**2)
    with pytest.raises(UserError, match="314572800 bytes"):
        read_poses(tmp_path / "huge.json")


@given(
    st.lists(
        st.tuples(st.floats(3, 9999, width=32), st.floats(3, 9999, width=32), st.booleans()), min_size=18, max_size=18
    )
)
def test_what_is_written_is_read_back_exactly(tmp_path_factory, points):
    body = np.array([(x, y, 1) if seen else (0, 0, 0) for x, y, seen in points], np.float32)
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    write_poses(path, [Pose((Person(body),), 640, 480), Pose((), 640, 480)])
    first, second = read_poses(path)
    np.testing.assert_array_equal(first.people[0].body, body)
    assert (second.people, second.width_px, second.height_px) == ((), 640, 480)


def test_hands_and_face_survive_writing(tmp_path, whole_person):
    write_poses(tmp_path / "pose.json", [Pose((whole_person,), 512, 512)])
    person = read_poses(tmp_path / "pose.json")[0].people[0]
    for name, points in whole_person.parts().items():
        np.testing.assert_array_equal(person.parts()[name], points)
    assert [path.name for path in tmp_path.iterdir()] == ["pose.json"]


def test_real_samples_are_read(shared_folder):
    keypoints = shared_folder / "data" / "keypoints"
    normalised, pixels = (read_poses(keypoints / f"editor-coco18-{kind}.json")[0] for kind in ("normalised", "pixels"))
    np.testing.assert_allclose(normalised.people[0].body[0, :2], pixels.people[0].body[0, :2], atol=1)
    assert (normalised.people[0].left_hand[:, 2] == 0).nonzero()[0].tolist() == [8, 12, 16]
    assert normalised.people[0].face is None
    signing = read_poses(keypoints / "signing-gebaerden", size_px=(640, 480))
    assert len(signing) == 149
    whole = read_poses(keypoints / "body25-hands-face", size_px=(1280, 720))
    assert len(whole) == 9
    assert whole[0].people[0].face.shape == (70, 3)
    np.testing.assert_allclose(whole[0].people[0].body[14, :2], [605.839, 198.342])
