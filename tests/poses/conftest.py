"""A person to draw, read, fill and write."""

import numpy as np
import pytest

from masactrl_video.poses.pose import Person, Pose


def make_person(seed: int, width_px: int = 512, height_px: int = 512, *, whole: bool = False) -> Person:
    """Points well inside the canvas, at fractions far from whole pixels; with hands and face when whole."""
    random = np.random.default_rng(seed)

    def points(count: int) -> np.ndarray:
        xy = random.integers(20, [width_px - 20, height_px - 20], (count, 2)) + 0.5
        return np.concatenate([xy, np.ones((count, 1))], axis=1).astype(np.float32)

    return Person(points(18), points(70), points(21), points(21)) if whole else Person(points(18))


@pytest.fixture
def person() -> Person:
    """Body only, on 512 x 512."""
    return make_person(0)


@pytest.fixture
def whole_person() -> Person:
    """Body, hands and face, on 512 x 512."""
    return make_person(1, whole=True)


@pytest.fixture
def empty_pose() -> Pose:
    """Nobody on 512 x 512."""
    return Pose((), 512, 512)
