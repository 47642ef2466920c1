"""What the pose nodes and Measure do, on ComfyUI's own types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from masactrl_video.comfyui.measuring import as_text, measured
from masactrl_video.comfyui.poses import as_json, drawn, frames_of, read_json, retargeted, shipped, smoothed, tweened
from masactrl_video.errors import UserError
from masactrl_video.poses.named_poses import named_pose
from masactrl_video.poses.pose_json import poses_from

STANDING, WAVING = (frames_of([named_pose(name)])[0] for name in ("standing", "waving"))


def body(frame: dict[str, Any]) -> np.ndarray:
    return np.array(frame["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)


def test_tweened_from_key_to_key() -> None:
    made = tweened([STANDING, WAVING], between=3, easing="linear", loop=False)
    assert len(made) == 5
    assert np.allclose(body(made[0]), body(STANDING), atol=0.01)
    assert np.allclose(body(made[-1]), body(WAVING), atol=0.01)
    assert len(tweened([STANDING, WAVING], between=3, easing="linear", loop=True)) == 8


def test_smoothed_trembles_less() -> None:
    noise, frames = np.random.default_rng(0), []
    for _ in range(9):
        points = body(STANDING)
        points[:, :2] += noise.normal(0, 3, (18, 2))
        frames.append({**STANDING, "people": [{"pose_keypoints_2d": points.flatten().tolist()}]})
    made = smoothed(frames, window=7, longest_gap=2)
    before, after = (np.diff([body(frame)[:, :2] for frame in of], axis=0).std() for of in (frames, made))
    assert after < before / 2


def test_retargeted_has_the_bones_of_the_reference() -> None:
    longer = body(STANDING)
    longer[:, 1] *= 1.3
    reference = {**STANDING, "canvas_height": 2 * STANDING["canvas_height"]}
    reference["people"] = [{"pose_keypoints_2d": (longer * [1, 2, 1]).flatten().tolist()}]
    made = retargeted([STANDING, WAVING], [reference])
    thigh = [np.linalg.norm(np.diff(body(frame)[[8, 9], :2], axis=0)) for frame in (made[0], STANDING)]
    assert thigh[0] == pytest.approx(1.3 * thigh[1], rel=0.05)


def test_frames_have_every_part_as_comfyui_reads_them(caplog: pytest.LogCaptureFixture) -> None:
    face = [number for n in range(68) for number in (float(n), 1.0, 0.5)]
    person = {**STANDING["people"][0], "face_keypoints_2d": face, "foot_keypoints_2d": [1.0] * 18}
    made = smoothed([{**STANDING, "people": [person]}] * 5, window=5, longest_gap=0)[0]["people"][0]
    lengths = {name: len(numbers) // 3 for name, numbers in made.items()}
    assert lengths == {
        "pose_keypoints_2d": 18,
        "face_keypoints_2d": 70,
        "hand_left_keypoints_2d": 21,
        "hand_right_keypoints_2d": 21,
    }
    assert made["face_keypoints_2d"][204:206] == made["pose_keypoints_2d"][42:44]
    assert made["face_keypoints_2d"][2] == 0.5  # how sure it was goes on
    assert "points of feet" in caplog.text


def test_shipped_movements_and_json_are_poses() -> None:
    walk = shipped("walk", "right")
    assert len(walk) > 4
    assert read_json(as_json(walk)) == walk
    assert read_json(json.dumps(STANDING))[0]["canvas_width"] == STANDING["canvas_width"]
    for text, said in (("{", "poses: not JSON"), ("[]", "at least one"), ('{"a": 1}', "poses: frame 0")):
        with pytest.raises(UserError, match=said):
            read_json(text)


def test_doubtful_points_are_not_drawn() -> None:
    points = body(STANDING)
    points[:, 2] = 0.2
    doubtful = {**STANDING, "people": [{"pose_keypoints_2d": points.flatten().tolist()}]}
    assert drawn([doubtful]).max() == 0 < drawn([doubtful], 0.1).max()


def test_drawn_on_the_canvas() -> None:
    made = drawn([STANDING, WAVING])
    assert made.shape == (2, STANDING["canvas_height"], STANDING["canvas_width"], 3)
    assert 0 < made.mean() < 1


def test_bad_poses_are_told_by_frame() -> None:
    for frames, said in (([], "at least one"), ("x", "a list of frames"), ([STANDING, {"a": 1}], "poses: frame 1")):
        with pytest.raises(UserError, match=said):
            drawn(frames)
    with pytest.raises(UserError, match="nobody is in its first frame"):
        retargeted([STANDING], [{**STANDING, "people": []}])
    assert len(poses_from([STANDING], "poses")) == 1


def test_measured_frames() -> None:
    frames = np.full((4, 16, 16, 3), 0.5, np.float32)
    still = {figure.about.name: figure.value for figure in measured(frames)}
    frames[2:] += 0.2
    moved = measured(frames, original=np.full((4, 16, 16, 3), 0.5, np.float32))
    jumped = {figure.about.name: figure.value for figure in moved}
    assert any(jumped[name] != value for name, value in still.items())
    assert len(as_text(moved).splitlines()) == len(moved) > len(still)
    with pytest.raises(UserError, match="give 2 or more"):
        measured(frames[:1])
    with pytest.raises(UserError, match="original: got 3 of 16x16, the frames are 4 of 16x16"):
        measured(frames, original=frames[:3])
