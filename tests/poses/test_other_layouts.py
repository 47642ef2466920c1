"""Pose lists of other tools: COCO, MMPose and whole bodies are read, others are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import BODY_NAMES, Pose
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.poses.pose_json import pose_remarks, read_poses

COCO_NAMES = ["nose"] + [
    f"{side} {part}"
    for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
]
"""As the data set's own page lists them."""
SIZE_PX = (640, 480)
BODY = [[20.0 + 10 * n, 300.0 - 7 * n] for n in range(17)]
SCORES = [0.5 + 0.02 * n for n in range(17)]


def flat(points: Any = BODY, scores: Any = SCORES) -> list[float]:
    return [number for (x, y), score in zip(points, scores, strict=True) for number in (x, y, score)]


def result(image_id: Any, **changes: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "keypoints": flat(), "score": 0.9, **changes}


def instance(points: Any = BODY, scores: Any = SCORES) -> dict[str, Any]:
    return {"keypoints": points, "keypoint_scores": scores, "bbox": [[0, 0, 9, 9]], "bbox_score": 0.9}


def read(folder: Path, content: Any, name: str = "poses.json") -> list[Pose]:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return read_poses(folder / name, size_px=SIZE_PX)


def assert_is_body(points: np.ndarray) -> None:
    for name, (x, y, confidence) in zip(BODY_NAMES, points.tolist(), strict=True):
        if name == "neck":
            left, right = (BODY[COCO_NAMES.index(f"{side} shoulder")] for side in ("left", "right"))
            assert [x, y] == pytest.approx([(left[0] + right[0]) / 2, (left[1] + right[1]) / 2])
        else:
            n = COCO_NAMES.index(name)
            assert [x, y, confidence] == pytest.approx([*BODY[n], SCORES[n]])


def people(poses: list[Pose]) -> list[int]:
    return [len(pose.people) for pose in poses]


def test_coco_results_are_read_with_the_neck_between_the_shoulders(tmp_path: Path) -> None:
    poses = read(tmp_path, [result(2), result(0), result(0), result(3)])
    assert people(poses) == [2, 0, 1, 1]
    assert (poses[1].width_px, poses[1].height_px) == SIZE_PX
    assert_is_body(poses[0].people[0].body)


def test_a_neck_without_shoulders_is_missing(tmp_path: Path) -> None:
    scores = [0 if name == "left shoulder" else 2 for name in COCO_NAMES]
    (pose,) = read(tmp_path, [result(0, keypoints=flat(scores=scores))])
    assert pose.people[0].body[1].tolist() == [0, 0, 0]
    assert pose.people[0].body[2, 2] == 1  # visibility 2 is certain


def test_results_by_names_of_pictures_come_in_natural_order(tmp_path: Path) -> None:
    listed = [result(name) for name in ("clip/frame_10.jpg", "clip/frame_8.jpg")]
    assert people(read(tmp_path, listed)) == [1, 0, 1]
    assert people(read(tmp_path, [result("b.jpg"), result("a.jpg"), result("b.jpg")])) == [1, 2]


def test_results_that_begin_later_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for first in (0, 1):
        read(tmp_path, [result(first), result(first + 1)])
    assert not caplog.messages
    assert people(read(tmp_path, [result(7), result(9)])) == [1, 0, 1]
    assert caplog.messages == [
        f"{tmp_path / 'poses.json'}: image_id begins at 7: that one is taken for the first frame"
    ]


def test_an_annotations_file_gives_frames_sizes_and_whole_bodies(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in (10, 9)]
    entry = {"image_id": 10, "keypoints": flat(), "lefthand_kpts": [5, 6, 1] * 21}
    first, second = read(tmp_path, {"images": images, "annotations": [entry], "categories": []})
    assert (first.people, first.width_px, first.height_px) == ((), 64, 48)
    assert_is_body(second.people[0].body)
    assert second.people[0].left_hand is not None


def test_mmpose_lists_of_a_video_and_of_a_picture_are_read(tmp_path: Path) -> None:
    video = {"meta_info": {}, "instance_info": [{"frame_id": n, "instances": [instance()]} for n in (3, 1)]}
    poses = read(tmp_path, video)
    assert people(poses) == [1, 0, 1]
    assert_is_body(poses[0].people[0].body)
    assert people(read(tmp_path, [instance(), instance()])) == [2]
    assert people(read(tmp_path, {"predictions": [[instance()], []]})) == [1, 0]
    assert people(read(tmp_path, {"instances": [instance()]})) == [1]


def test_whole_bodies_have_hands_and_face(tmp_path: Path) -> None:
    points = BODY + [[100.0 + n, 50.0] for n in range(17, 133)]
    (pose,) = read(tmp_path, [instance(points, SCORES + [0.9] * 116)])
    person = pose.people[0]
    assert_is_body(person.body)
    assert person.face is not None and person.left_hand is not None and person.right_hand is not None
    starts = [float(part[0, 0]) for part in (person.face, person.left_hand, person.right_hand)]
    assert starts == [123, 191, 212]


def test_a_folder_with_a_list_a_picture_is_read_also_where_nobody_is(tmp_path: Path) -> None:
    for n, content in enumerate(([instance()], [], [instance(), instance()])):
        (tmp_path / f"{n}.json").write_text(json.dumps(content))
    assert people(read_poses(tmp_path, size_px=SIZE_PX)) == [1, 0, 2]


def test_json_lines_are_read(tmp_path: Path) -> None:
    frame = {"people": [{"pose_keypoints_2d": [9, 9, 1] * 18}], "canvas_width": 64, "canvas_height": 48}
    lines = "\n".join(json.dumps(frame) for _ in range(3)) + "\n\n"
    assert people(read(tmp_path, lines, "a.jsonl")) == people(read(tmp_path, lines, "a.json")) == [1, 1, 1]
    assert is_pose_json(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"not valid JSON: line 2"):
        read(tmp_path, lines.replace("\n", "\n{", 1))


def test_keys_of_openpose_1_0_are_read(tmp_path: Path) -> None:
    person = {"pose_keypoints": [9, 9, 0.5] * 18, "face_keypoints": [], "hand_left_keypoints": [8, 8, 1] * 21}
    (pose,) = read(tmp_path, {"version": 1.0, "people": [person]})
    assert pose.people[0].body[17].tolist() == [9, 9, 0.5]
    assert pose.people[0].left_hand is not None and pose.people[0].face is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"landmarks": [{"x": 0, "y": 0}] * 33}], "MediaPipe"),
        ({"pose_landmarks": []}, "MediaPipe"),
        ([{"x": 0.1, "y": 0.2, "z": 0, "visibility": 1}] * 33, "MediaPipe"),
        ([{"name": "person", "class": 0, "box": {}, "keypoints": {"x": [], "y": []}}], "YOLO"),
        ({"1.jpg": {"version": "AlphaPose", "bodies": [{"joints": []}]}}, "AlphaPose"),
        ([instance([[1, 2]] * 26, [1] * 26)], r"26 points \(Halpe\); read are COCO's 17"),
        ([result(0, keypoints=[1, 2, 3] * 33)], r"33 points \(MediaPipe\)"),
        ([result(0, keypoints=[1, 2, 3] * 16 + [1, 2])], "numbers x, y and confidence"),
        ([result(0, keypoints=[1, "2", 3] * 17)], "numbers x, y and confidence"),
        ([result(0), result(None)], "entry 1: an object with image_id"),
        ([result(139), result(581781)], "image_id goes from 139 to 581781 for 2 frames"),
        ({"annotations": []}, "without a list `images`"),
        ({"images": [{"id": 1}], "annotations": [{"image_id": 2}]}, r"annotations\[0\]: an image_id that is among"),
        ({"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}, "none of the 1 annotations has"),
        ({"instance_info": [{"frame_id": 1, "instances": []}] * 2}, "its own frame_id"),
        ({"instance_info": [{"frame_id": 1, "instances": None}]}, "a list of instances"),
        ([{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1]}], "keypoint_scores must be a list of one number"),
        ({"people": [{"joints": [1]}]}, r"people\[0\]: none of pose_keypoints_2d, .* its keys are joints"),
        ({"shapes": []}, "or a list in COCO's or MMPose's form"),
    ],
)
def test_lists_that_are_not_read_are_named(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_hidden_files_and_capitals_in_a_folder_of_poses(tmp_path: Path) -> None:
    frame = json.dumps({"people": [{"pose_keypoints_2d": [9, 9, 1] * 18}]})
    for name in ("00_keypoints.json", "01_keypoints.JSON", "03_keypoints.json"):
        (tmp_path / name).write_text(frame)
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7")
    (tmp_path / "._a.png").write_bytes(b"")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert is_pose_json(tmp_path)
    assert len(read_poses(tmp_path, size_px=SIZE_PX)) == 3
    assert "the number is missing (2)" in pose_remarks(tmp_path)[0]
