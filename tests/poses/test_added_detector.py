"""A pose detector of another package, found by its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import masactrl_video
from masactrl_video.errors import UserError
from masactrl_video.poses.detectors import base
from masactrl_video.poses.detectors.base import open_pose_detector
from masactrl_video.poses.pose import Pose
from masactrl_video.video.png import write_png

OUTSIDE = Path(__file__).resolve().parents[1] / "outside_package"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures with a light that moves to the right."""
    (tmp_path / "clip").mkdir()
    for number in range(3):
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[30:34, 20 + 20 * number : 24 + 20 * number] = 255
        write_png(tmp_path / "clip" / f"{number}.png", picture)
    return tmp_path / "clip"


def test_a_fresh_process_finds_poses_by_it(pictures: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{Path(masactrl_video.__file__).parents[1]}{os.pathsep}{OUTSIDE}"}
    command = [sys.executable, "-m", "masactrl_video.cli.main", "pose", "extract", str(pictures)]
    more = ["--pose-detector", "brightest", "--pose-threshold", "0.9", "-o", "poses.json"]
    ran = subprocess.run([*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    poses = json.loads((tmp_path / "poses.json").read_text())
    noses = [frame["people"][0]["pose_keypoints_2d"][0] for frame in poses]
    assert np.diff(noses) == pytest.approx([20, 20], abs=0.1)


@pytest.mark.parametrize("threshold", [None, 0.9])
def test_it_is_made_with_the_threshold_and_known_by_its_name(
    threshold: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)
    detector = open_pose_detector("brightest", threshold)
    assert detector.threshold == (threshold or 0.5)
    assert detector.identity == f"brightest:brightest:{threshold or 0.5}"
    assert detector(np.zeros((32, 48, 3), np.uint8)).people == ()
    assert detector(np.full((32, 48, 3), 255, np.uint8)).has_person


class Wrong:
    """Answers with a pose of another size."""

    identity, threshold = "wrong", None

    def __init__(self, threshold: float | None) -> None:
        pass

    def __call__(self, image: np.ndarray) -> Pose:
        return Pose((), 1, 1)


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (7, "pose_detector: some is 7; a package adds a class"),
        (lambda threshold: object(), "pose_detector: some has no identity and no threshold and no __call__; see docs"),
        (lambda threshold: 1 / 0, "pose_detector: some cannot be loaded: division by zero"),
        (Wrong, r"pose_detector: some answers with Pose\(.*; a Pose of 48x32 is wanted"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(added: object, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "plugin_names", lambda kind: ("some",))
    monkeypatch.setattr(base, "load_plugin", lambda kind, name: added)
    with pytest.raises(UserError, match=words):
        open_pose_detector("some")(np.zeros((32, 48, 3), np.uint8))
