"""How the feet of sprites are measured: the line, a foot that is off it, and trousers of a colour of no world."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from masactrl_video.demo.clip import HERO
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import Figure, draw_body
from masactrl_video.demo.world.poses import GivenPose
from masactrl_video.poses.cycles import HEIGHT, cycle

LINE_PX, SIDE_PX = 124, 128


def figures() -> list[Figure]:
    """Of a walk, soles on the line."""
    from sprite_feet import standing_on

    poses = [pose.people[0].body[:, :2].astype(float) / pose.height_px for pose in cycle("walk")[::3]]
    return [standing_on(HERO, GivenPose(points, HEIGHT), LINE_PX, 1.0, SIDE_PX) for points in poses]


def sprite(figure: Figure) -> NDArray[np.uint8]:
    """The figure alone. RGBA"""
    pictures = []
    for colour in (0, 255):
        canvas = Canvas(SIDE_PX, SIDE_PX)
        canvas.gradient((colour,) * 3, (colour,) * 3, 0, 1)
        draw_body(canvas, figure)
        pictures.append(canvas.picture().astype(float))
    alpha = 1 - (pictures[1] - pictures[0]).mean(axis=2, keepdims=True) / 255
    colours = pictures[0] / np.maximum(alpha, 1e-6)
    return np.concatenate([colours.clip(0, 255), 255 * alpha], axis=2).round().astype(np.uint8)


def test_feet_of_exact_figures_are_on_the_line() -> None:
    from sprite_feet import feet

    exact = figures()
    found = feet([sprite(figure) for figure in exact], exact)
    np.testing.assert_allclose(found.off, 0, atol=0.15)


@pytest.mark.parametrize("moved_px", [-3, 2])
def test_a_figure_off_the_line_is_found_to_be_so(moved_px: int) -> None:
    from sprite_feet import feet

    exact = figures()
    found = feet([np.roll(sprite(figure), moved_px, axis=0) for figure in exact], exact)
    np.testing.assert_array_less(0.5, found.off / moved_px)  # the network sees at least half of it
    np.testing.assert_array_less(found.off / moved_px, 1.1)
    assert found.figures()["within_1_px"] == 0


@pytest.mark.parametrize("colour", [(140, 91, 56), (142, 72, 190), (150, 150, 150)], ids=["brown", "purple", "grey"])
def test_trousers_of_another_colour_do_not_move_feet(colour: tuple[int, int, int]) -> None:
    from sprite_feet import feet

    exact = figures()
    np.testing.assert_allclose(feet([sprite(replace(one, trousers=colour)) for one in exact], exact).off, 0, atol=0.5)


def test_a_foot_that_is_not_seen_is_not_on_the_line() -> None:
    from sprite_feet import feet

    exact = figures()[:2]
    found = feet([sprite(exact[0]), np.zeros((SIDE_PX, SIDE_PX, 4), np.uint8)], exact)
    assert np.isnan(found.off).tolist() == [False, True]
    assert found.figures()["found"] == found.figures()["within_1_px"] == 1


def test_the_exact_figure_stands_on_the_line_as_it_is_drawn() -> None:
    from sprite_feet import sole_px

    assert [sole_px(figure, SIDE_PX) for figure in figures()] == pytest.approx([LINE_PX] * 3, abs=0.1)
