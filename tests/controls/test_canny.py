import numpy as np
import pytest

from masactrl_video.controls.extractors import canny_edges
from masactrl_video.errors import UserError


@pytest.fixture
def square():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[10:30, 20:40] = 120
    return picture


def test_edges_follow_the_outline_in_white(square):
    edges = canny_edges(square, 100, 200)
    assert edges.shape == square.shape
    assert set(np.unique(edges)) == {0, 255}
    assert edges[8:12, 30].any()
    assert not edges[20, 30].any()


def test_higher_thresholds_find_less(square):
    assert canny_edges(square, 900, 1000).sum() < canny_edges(square, 100, 200).sum()


@pytest.mark.parametrize(("low", "high"), [(200, 100), (-1, 100), (float("nan"), 200), (10, float("inf"))])
def test_bad_thresholds_are_refused(square, low, high):
    with pytest.raises(UserError, match="0 <= low <= high"):
        canny_edges(square, low, high)
