"""`animate` and `pose`, as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from poses.detectors.row_networks import picture_with_people, row_network
from poses.walkers import ADULT, CHILD, lengths_of, standing, walking

from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import read_poses, write_poses
from masactrl_video.poses.skeleton import BODY_BONES, BONE_NAMES, bone_lengths
from masactrl_video.settings.presets import read_config
from masactrl_video.video.clip import open_clip

Run = Callable[..., Any]
SHORT = ("--num-inference-steps", "2", "--masa-step", "1", "--frame-load-cap", "2", "--no-side-by-side")


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    write_poses(tmp_path / "poses.json", walking(ADULT, 7))
    return tmp_path / "poses.json"


def bodies(path: Path) -> np.ndarray:
    return np.stack([pose.people[0].body for pose in read_poses(path)])


def test_animate_renders_pose_json_with_the_pose_network(run: Run, poses: Path, tmp_path: Path) -> None:
    ran = run("animate", poses, "-o", tmp_path / "out.mp4", *SHORT, "--frame-rate", "8")
    assert ran.status == 0, ran.err
    assert open_clip(tmp_path / "out.mp4").info.average_frame_rate == pytest.approx(8)
    config = read_config(tmp_path / "out" / "config.yaml")
    assert (config["guidance"], config["clip"], config["pose_json"]) == (["pose"], str(poses), None)
    again = run("render", "-q", "--config", tmp_path / "out" / "config.yaml", "-o", tmp_path / "again.mp4")
    assert again.status == 0
    first, second = ((tmp_path / name / "frames" / "000001.png").read_bytes() for name in ("out", "again"))
    assert first == second


@pytest.mark.long
def test_animate_uses_skeleton_pictures_as_they_are(run: Run, poses: Path, tmp_path: Path) -> None:
    assert run("pose", "show", poses, "-o", tmp_path / "pictures").status == 0
    ran = run("animate", tmp_path / "pictures", "-o", tmp_path / "out.mp4", *SHORT, "--width", "128", "--height", "128")
    assert ran.status == 0, ran.err
    assert "its pictures are used as skeletons" in ran.err
    assert read_config(tmp_path / "out" / "config.yaml")["guidance_video"] == {"pose": str(tmp_path / "pictures")}
    assert run("animate", "-q", "--config", tmp_path / "out" / "config.yaml", "-o", tmp_path / "again.mp4").status == 0


def test_poses_are_extracted_with_a_detector(run: Run, tmp_path: Path) -> None:
    network = row_network(tmp_path / "row.onnx")
    (tmp_path / "clip").mkdir()
    for index in range(3):
        Image.fromarray(picture_with_people((5, 18 + index, 255))).save(tmp_path / "clip" / f"{index}.png")
    detector = ("--pose-detector", network)
    ran = run(
        "pose", "extract", tmp_path / "clip", "-o", tmp_path / "found.json", *detector, "--skip-first-frames", "1"
    )
    assert (ran.status, ran.out) == (
        0,
        f"{tmp_path / 'found.json'}: 2 poses, somebody in 2, up to 1 person at a time\n",
    )
    found = read_poses(tmp_path / "found.json")
    assert (found[0].width_px, found[0].height_px) == (320, 160)
    np.testing.assert_allclose(bodies(tmp_path / "found.json")[:, 9, 0], [8 * 19.5 - 0.5, 8 * 20.5 - 0.5], atol=0.05)


def test_poses_are_shown_as_sheet_video_and_pictures(run: Run, poses: Path, tmp_path: Path) -> None:
    for name in ("sheet.png", "show.mp4", "show.gif", "pictures"):
        assert (
            run(
                "pose", "show", poses, "-o", tmp_path / name, *(("--frames", "4") if name == "sheet.png" else ())
            ).status
            == 0
        )
    assert Image.open(tmp_path / "sheet.png").size >= (2 * 512, 2 * 512)
    assert len(open_clip(tmp_path / "show.mp4")) == len(list((tmp_path / "pictures").iterdir())) == 7


def test_25_point_bodies_on_another_canvas_become_18_point_ones(run: Run, tmp_path: Path) -> None:
    (tmp_path / "openpose").mkdir()
    for index in range(2):
        body = [number for point in range(25) for number in (100 + 4 * point, 50 + index, 0.5)]
        content = {"version": 1.3, "people": [{"pose_keypoints_2d": body}]}
        (tmp_path / "openpose" / f"clip_{index}_keypoints.json").write_text(json.dumps(content))
    ran = run(
        *("pose", "convert", tmp_path / "openpose", "-o", tmp_path / "out.json"),
        *("--pose-canvas", "640x480", "--canvas", "320x480"),
    )
    assert ran.status == 0, ran.err
    frames = json.loads((tmp_path / "out.json").read_text())
    assert [len(frame["people"][0]["pose_keypoints_2d"]) for frame in frames] == [54, 54]
    assert (frames[0]["canvas_width"], frames[0]["canvas_height"]) == (320, 480)
    first = bodies(tmp_path / "out.json")[0]
    np.testing.assert_allclose(first[8, :2], [(136.5) / 2 - 0.5, 50.5 / 2 - 0.5 + 120], atol=0.01)


def test_formats_are_converted_there_and_back(run: Run, poses: Path, tmp_path: Path) -> None:
    assert run("pose", "convert", poses, "-o", tmp_path / "folder", "--normalised").status == 0
    assert run("pose", "convert", tmp_path / "folder", "-o", tmp_path / "back.json").status == 0
    assert len(list((tmp_path / "folder").iterdir())) == 7
    np.testing.assert_allclose(bodies(tmp_path / "back.json"), bodies(poses), atol=0.01)


def test_poses_are_smoothed_without_being_told_how(run: Run, tmp_path: Path) -> None:
    noisy = walking(ADULT, 30)
    random = np.random.default_rng(0)
    for pose in noisy:
        pose.people[0].body[:, :2] += random.normal(0, 2, (18, 2))
    write_poses(tmp_path / "noisy.json", noisy)
    assert run("pose", "smooth", tmp_path / "noisy.json", "-o", tmp_path / "smooth.json").status == 0
    jitter = [np.abs(np.diff(bodies(tmp_path / f"{name}.json"), n=2, axis=0)).mean() for name in ("noisy", "smooth")]
    assert jitter[1] < jitter[0] / 2


def test_poses_get_the_proportions_of_a_reference_or_given_ones(run: Run, poses: Path, tmp_path: Path) -> None:
    write_poses(tmp_path / "child.json", [Pose((standing(CHILD),), 512, 512)])
    place = ("-o", tmp_path / "out.json", "--overwrite")
    assert run("pose", "retarget", poses, *place, "--reference", tmp_path / "child.json").status == 0
    np.testing.assert_allclose(bone_lengths(bodies(tmp_path / "out.json"), BODY_BONES)[3], lengths_of(CHILD), rtol=0.01)
    thighs = ("--length", "right-thigh=70", "--length", "left-thigh=70")
    assert run("pose", "retarget", poses, *place, "--reference", tmp_path / "child.json", *thighs).status == 0
    lengths = bone_lengths(bodies(tmp_path / "out.json"), BODY_BONES)
    np.testing.assert_allclose(lengths[:, BONE_NAMES.index("left-thigh")], 70, rtol=0.01)
    np.testing.assert_allclose(lengths[:, BONE_NAMES.index("left-shin")], CHILD["left-shin"], rtol=0.01)


def test_a_few_keys_make_a_clip(run: Run, poses: Path, tmp_path: Path) -> None:
    arguments = ("pose", "tween", poses, poses, "-o", tmp_path / "out.json", "--overwrite")
    assert "157 poses" in run(*arguments).out
    assert "168 poses" in run(*arguments, "--loop", "--easing", "catmull-rom").out
    assert "40 poses" in run(*arguments, "--every", "3").out
    assert "14 poses" in run(*arguments, "--at", *range(14)).out
