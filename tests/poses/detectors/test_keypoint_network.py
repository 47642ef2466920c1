"""The detector that ships with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import masactrl_video
from masactrl_video.poses.detectors.network import NetworkPoseDetector

WEIGHTS = Path(masactrl_video.__file__).parent / "demo" / "weights" / "keypoints"


@pytest.mark.parametrize("level", [0, 60, 128])
def test_nobody_is_found_in_a_frame_of_one_colour(level: int) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (96, 128, 3), np.uint8)
    assert not NetworkPoseDetector(WEIGHTS)(level + noise).has_person
