"""Cells: even, on one line, never larger than the picture."""

import numpy as np
import pytest
from sprites.conftest import Drawn

from masactrl_video.controls.pose_plan import detector_named
from masactrl_video.errors import UserError
from masactrl_video.poses.skeleton import ANKLES
from masactrl_video.sprites.cells import Cell, Window, soles_px, to_cell, window_of
from masactrl_video.sprites.movements import SOLE_SHARE

ENLARGED_PX = 512
FLAT = np.array([150, 190, 150])


def box(left: int, top: int, right: int, bottom: int, side: int = 256) -> np.ndarray:
    figure = np.zeros((side, side, 4), np.uint8)
    figure[top:bottom, left:right] = (255, 128, 0, 255)
    return figure


def cells_of(drawn: list[Drawn], cell_px: int = 128, hard: bool = False) -> tuple[list[Cell], Window]:
    figures = [one.figure for one in drawn]
    soles = soles_px(figures, [one.body.lowest_px for one in drawn], SOLE_SHARE * ENLARGED_PX)
    window = window_of(figures, soles, cell_px, cell_px * 4)
    return [to_cell(figure, sole, window, hard=hard) for figure, sole in zip(figures, soles, strict=True)], window


def test_feet_stand_on_one_line_by_what_is_drawn(drawn: list[Drawn]) -> None:
    cells, window = cells_of(drawn, hard=True)
    lowest = [int(np.flatnonzero((cell[..., 3] > 0).sum(axis=1) >= 2)[-1]) + 1 for cell in cells]
    assert max(abs(low - window.ground_px) for low in lowest) <= 1


def test_feet_stand_on_one_line_by_the_keypoint_network(drawn: list[Drawn]) -> None:
    detect = detector_named("demo/keypoints", 0.05)
    cells, window = cells_of(drawn)
    found = []
    for cell in cells:
        alpha = cell[..., 3:] / 255
        pose = detect(np.round(cell[..., :3] * alpha + FLAT * (1 - alpha)).astype(np.uint8))
        body = pose.people[0].body
        found.append(max(float(body[ankle, 1]) for ankle in ANKLES if body[ankle, 2] > 0))
    assert np.ptp(found) <= 2  # at most 1 px from the line in the middle of them
    assert 2 <= window.ground_px - np.median(found) <= 8  # a sole is below its ankle


def test_all_figures_share_one_window_that_holds_the_largest() -> None:
    figures = [box(100, 60, 156, 200), box(28, 100, 140, 190)]  # the second reaches 100 px to the left of the middle
    window = window_of(figures, [200, 190], 64, 64)
    cells = [to_cell(figure, sole, window, hard=True) for figure, sole in zip(figures, [200, 190], strict=True)]
    assert window.side == pytest.approx(200 * 64 / 60, abs=1)
    for cell in cells:
        rows, columns = (np.flatnonzero((cell[..., 3] > 0).any(axis=axis)) for axis in (1, 0))
        assert rows[-1] + 1 == window.ground_px
        assert columns[0] >= 1 and columns[-1] <= 62


def test_a_small_figure_is_not_enlarged() -> None:
    figure = box(120, 180, 136, 200)
    assert window_of([figure], [200], 64, least_px=64).side == 64
    assert to_cell(figure, 200, window_of([figure], [200], 64, 64), hard=True)[..., 3].astype(bool).sum() == 16 * 20


def test_colours_of_the_rim_are_the_figures_whatever_is_behind() -> None:
    figure = box(101, 61, 157, 199)
    cell = to_cell(figure, 199, window_of([figure], [199], 32, 32), hard=False)
    half = (cell[..., 3] > 0) & (cell[..., 3] < 255)
    assert half.any()
    np.testing.assert_array_equal(np.unique(cell[half][:, :3], axis=0), [[255, 128, 0]])
    assert not cell[cell[..., 3] == 0].any()


def test_the_sole_of_one_figure_is_that_of_most_unless_it_is_clearly_elsewhere() -> None:
    figures = [box(100, 60, 156, end) for end in (200, 202, 208, 200)]
    assert soles_px(figures, [190] * 4, 11) == [201, 201, 208, 201]  # the median is 201


def test_a_sole_may_be_between_rows() -> None:
    figure = box(100, 60, 156, 200)
    figure[200, 100:156] = (*figure[199, 100, :3], 102)
    # From the middle of row 199, whose alpha is 255, it is half 5/6 of the way to that of row 200.
    assert soles_px([figure], [190], 11) == pytest.approx([200 - 0.5 + 127.5 / 153])


def test_pictures_without_a_figure_are_refused() -> None:
    with pytest.raises(UserError, match="no figure was found"):
        window_of([np.zeros((64, 64, 4), np.uint8)], [60], 32, 32)
