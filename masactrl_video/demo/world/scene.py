"""The places behind a character."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from masactrl_video.demo.world.draw import Canvas, Colour, Points, ellipse
from masactrl_video.demo.world.identity import Identity

HORIZON = 0.62
_WHITE: Colour = (255, 255, 255)


_ROUND = 1.6
"""Picture widths after which a turning view shows the same again."""


@dataclass(frozen=True)
class View:
    """Where the camera looks, and what drifts behind a character."""

    pan: float = 0.0
    """How far the camera has turned to the right, in picture heights. Things come back after 1.6 picture widths."""
    drift: float = 0.0
    """How far what is up in the scene has drifted to the right, in picture widths: a cloud, in the snow the hill."""


def draw_scene(canvas: Canvas, identity: Identity, view: View | None = None) -> None:
    """Draws the identity's scene over the whole canvas; with a view, that of a place which goes on on both sides."""
    foot, up, light = identity.scenery
    if view is None:
        _SCENES[identity.scene](canvas, foot, up, light)
        return
    length = _ROUND * canvas.width
    turned = -view.pan % length
    canvas.aside = tuple(turned + times * length for times in (-2, -1, 0, 1))
    _SCENES[identity.scene](canvas, foot, up + view.drift % _ROUND, light)
    canvas.aside = (0.0,)


def _meadow(canvas: Canvas, tree: float, cloud: float, light: float) -> None:
    canvas.gradient((110, 180, 245), (205, 232, 252), 0, HORIZON + 0.06)
    _cloud(canvas, cloud)
    canvas.fill(ellipse(_at(canvas, tree * 0.5 + 0.5, 0.74), 0.7, 0.22), _lit((120, 190, 95), light))
    canvas.gradient(_lit((132, 204, 92), light), _lit((88, 164, 64), light), HORIZON + 0.06, 1)
    foot = _at(canvas, tree, HORIZON + 0.12)
    canvas.fill(_box(foot, 0.022, 0.2), (128, 88, 58))
    canvas.fill(ellipse(foot - (0.0, 0.28), 0.12, 0.13), _lit((66, 140, 66), light))


def _beach(canvas: Canvas, umbrella: float, cloud: float, light: float) -> None:
    canvas.gradient((130, 205, 250), (225, 240, 250), 0, HORIZON - 0.1)
    _cloud(canvas, cloud)
    canvas.gradient((52, 140, 205), (96, 190, 220), HORIZON - 0.1, HORIZON + 0.08)
    canvas.gradient(_lit((246, 224, 165), light), _lit((226, 192, 126), light), HORIZON + 0.08, 1)
    foot = _at(canvas, umbrella, HORIZON + 0.14)
    canvas.fill(_box(foot, 0.01, 0.3), (240, 240, 235))
    top = ellipse(foot - (0.0, 0.28), 0.15, 0.12)
    canvas.fill(top[top[:, 1] <= foot[1] - 0.279], (235, 90, 80))


def _snow(canvas: Canvas, tree: float, cloud: float, light: float) -> None:
    canvas.gradient((150, 170, 205), (222, 228, 240), 0, HORIZON + 0.06)
    canvas.fill(ellipse(_at(canvas, cloud, 0.74), 0.8, 0.2), _lit((216, 226, 240), light))
    canvas.gradient(_lit((240, 244, 250), light), _lit((205, 216, 236), light), HORIZON + 0.06, 1)
    foot = _at(canvas, tree, HORIZON + 0.13)
    canvas.fill(_box(foot, 0.02, 0.1), (112, 82, 62))
    for level, half in ((0.06, 0.13), (0.17, 0.105), (0.27, 0.075)):
        canvas.fill(_peak(foot - (0.0, level), half, 0.17), _lit((52, 106, 88), light))


def _room(canvas: Canvas, window: float, lamp: float, light: float) -> None:
    canvas.gradient(_lit((236, 212, 190), light), _lit((226, 196, 172), light), 0, HORIZON + 0.08)
    canvas.gradient((176, 124, 84), (146, 98, 64), HORIZON + 0.08, 1)
    canvas.fill(_box(_at(canvas, 0.5, HORIZON + 0.1), 2 * canvas.width, 0.03), (246, 240, 232))
    sill = _at(canvas, window, 0.45)
    canvas.fill(_box(sill, 0.13, 0.3), (250, 248, 242))
    canvas.fill(_box(sill - (0.0, 0.02), 0.11, 0.26), (150, 205, 240))
    canvas.fill(_box(sill, 0.008, 0.3), (250, 248, 242))
    canvas.fill(_box(_at(canvas, lamp, 0.1), 0.005, 0.1), (70, 60, 60))
    canvas.fill(_peak(_at(canvas, lamp, 0.17), 0.075, 0.09), (245, 190, 80))


def _at(canvas: Canvas, across: float, down: float) -> Points:
    """A point given by a fraction of the width and of the height."""
    return np.array([across * canvas.width, down])


def _box(bottom: Points, half_width: float, height: float) -> Points:
    corners: Points = np.array([[-half_width, 0], [half_width, 0], [half_width, -height], [-half_width, -height]])
    return bottom + corners


def _peak(bottom: Points, half_width: float, height: float) -> Points:
    corners: Points = np.array([[-half_width, 0], [half_width, 0], [0, -height]])
    return bottom + corners


def _cloud(canvas: Canvas, across: float) -> None:
    for aside, down, radius in ((-0.07, 0.15, 0.05), (0.0, 0.13, 0.07), (0.08, 0.155, 0.045)):
        canvas.fill(ellipse(_at(canvas, across + aside / canvas.width, down), 1.3 * radius, 0.8 * radius), _WHITE)


def _lit(colour: Colour, light: float) -> Colour:
    red, green, blue = (min(255, round(value * (0.88 + 0.16 * light))) for value in colour)
    return red, green, blue


_SCENES: dict[str, Callable[[Canvas, float, float, float], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "room": _room,
}
