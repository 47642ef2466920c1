"""The detector that ships with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import masactrl_video
from masactrl_video.demo.training.keypoints import heat_maps
from masactrl_video.poses.detectors.network import (
    KEYPOINT_WEIGHT,
    STRIDE,
    NetworkPoseDetector,
    log_bump,
    top_between_cells,
)

WEIGHTS = Path(masactrl_video.__file__).parent / "demo" / "weights" / "keypoints"


@pytest.mark.parametrize("level", [0, 60, 128])
def test_nobody_is_found_in_a_frame_of_one_colour(level: int) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (96, 128, 3), np.uint8)
    assert not NetworkPoseDetector(WEIGHTS)(level + noise).has_person


def test_a_peak_is_found_between_cells() -> None:
    places = np.random.default_rng(1).uniform(20, 100, (1, 18, 2)).astype(np.float32)
    bumps = heat_maps(places, (32, 32))[0].numpy().clip(1e-6, 1 - 1e-6)
    for (x, y), bump in zip(places[0], bumps, strict=True):
        learnt = np.log(KEYPOINT_WEIGHT * bump / (1 - bump))  # where the training's loss is least
        row, column = np.unravel_index(bump.argmax(), bump.shape)
        found = (np.array(top_between_cells(log_bump(learnt), int(row), int(column))) + 0.5) * STRIDE - 0.5
        np.testing.assert_allclose(found, (x, y), atol=0.05)


def test_a_peak_at_the_rim_stays_there() -> None:
    flat = np.zeros((4, 6), np.float32)
    flat[0, 5] = 1
    assert top_between_cells(log_bump(flat), 0, 5) == (5, 0)
