"""The heads by which the species are told apart, in a frame that turns with the face."""

from collections.abc import Callable

import numpy as np

from masactrl_video.demo.world.draw import OUTLINE, Canvas, Colour, Points, ellipse, rotation
from masactrl_video.demo.world.identity import Identity
from masactrl_video.demo.world.poses import L_EAR, R_EAR, Keypoints

FUR: dict[str, Colour] = {
    "bear": (150, 98, 58),
    "cat": (176, 176, 190),
    "rabbit": (236, 208, 214),
    "robot": (150, 170, 182),
    "frog": (112, 192, 74),
    "panda": (238, 238, 236),
}
_LINE = 0.009
_DARK: Colour = (40, 34, 40)
_WHITE: Colour = (255, 255, 255)
_PINK: Colour = (240, 150, 160)
_CREAM: Colour = (232, 202, 164)


class _Face:
    """Draws in heights of the figure from the middle of the head, x to the picture's right, y down."""

    def __init__(self, canvas: Canvas, joints: Keypoints, height: float) -> None:
        self.canvas, self.height = canvas, height
        self.centre, self.turn = head_frame(joints)

    def oval(
        self,
        x: float,
        y: float,
        half_width: float,
        half_height: float,
        colour: Colour,
        *,
        line: bool = False,
        angle: float = 0.0,
    ) -> None:
        points = ellipse(np.array([x, y]), half_width, half_height, angle)
        self.shape(points, colour, line=line)

    def shape(self, points: Points, colour: Colour, *, line: bool = False) -> None:
        placed = self.centre + (points * self.height) @ self.turn
        self.canvas.fill(placed, colour, _LINE * self.height if line else 0.0)

    def pair(
        self,
        x: float,
        y: float,
        half_width: float,
        half_height: float,
        colour: Colour,
        *,
        line: bool = False,
        angle: float = 0.0,
    ) -> None:
        """The same oval on both sides, mirrored."""
        for side in (-1, 1):
            self.oval(side * x, y, half_width, half_height, colour, line=line, angle=side * angle)


def head_frame(joints: Keypoints) -> tuple[Points, Points]:
    """The middle of the head (2,) and the rotation that turns row vectors with it (2, 2)."""
    across = joints[L_EAR] - joints[R_EAR]
    return joints[[R_EAR, L_EAR]].mean(axis=0), rotation(np.arctan2(across[1], across[0]))


def draw_head(canvas: Canvas, identity: Identity, joints: Keypoints, height: float, fur: Colour) -> None:
    """Draws the head of the identity's species."""
    _HEADS[identity.species](_Face(canvas, joints, height), fur)


def _bear(face: _Face, fur: Colour) -> None:
    face.pair(0.105, -0.115, 0.052, 0.052, fur, line=True)
    face.pair(0.105, -0.112, 0.027, 0.027, _CREAM)
    face.oval(0, 0, 0.15, 0.14, fur, line=True)
    face.oval(0, 0.055, 0.07, 0.055, _CREAM)
    face.oval(0, 0.028, 0.028, 0.02, _DARK)
    face.pair(0.055, -0.03, 0.018, 0.022, _DARK)


def _panda(face: _Face, fur: Colour) -> None:
    face.pair(0.11, -0.112, 0.054, 0.054, _DARK, line=True)
    face.oval(0, 0, 0.155, 0.14, fur, line=True)
    face.pair(0.062, -0.018, 0.04, 0.052, _DARK, angle=0.5)
    face.pair(0.055, -0.025, 0.015, 0.017, _WHITE)
    face.oval(0, 0.04, 0.027, 0.019, _DARK)


def _cat(face: _Face, fur: Colour) -> None:
    for side in (-1, 1):
        ear = np.array([[0.145, -0.03], [0.14, -0.205], [0.02, -0.12]]) * (side, 1)
        face.shape(ear, fur, line=True)
        face.shape(ear * 0.55 + np.array([0.045 * side, -0.06]), _PINK)
    face.oval(0, 0, 0.155, 0.13, fur, line=True)
    face.oval(0, 0.055, 0.06, 0.04, _WHITE)
    face.pair(0.06, -0.02, 0.024, 0.03, (150, 210, 90))
    face.pair(0.06, -0.02, 0.01, 0.026, _DARK)
    face.oval(0, 0.035, 0.02, 0.015, _PINK)
    for side in (-1, 1):
        for end in (0.03, 0.07):
            whisker = np.array([[0.07, 0.045], [0.17, end], [0.17, end + 0.01], [0.07, 0.055]]) * (side, 1)
            face.shape(whisker, OUTLINE)


def _rabbit(face: _Face, fur: Colour) -> None:
    face.pair(0.065, -0.2, 0.038, 0.125, fur, line=True, angle=0.15)
    face.pair(0.065, -0.195, 0.018, 0.09, _PINK, angle=0.15)
    face.oval(0, 0, 0.14, 0.13, fur, line=True)
    face.oval(0, 0.055, 0.06, 0.045, _WHITE)
    face.pair(0.052, -0.025, 0.017, 0.026, _DARK)
    face.oval(0, 0.03, 0.02, 0.014, _PINK)
    face.shape(np.array([[-0.016, 0.072], [0.016, 0.072], [0.016, 0.105], [-0.016, 0.105]]), _DARK)
    face.shape(np.array([[-0.012, 0.072], [0.012, 0.072], [0.012, 0.099], [-0.012, 0.099]]), _WHITE)


def _frog(face: _Face, fur: Colour) -> None:
    face.pair(0.085, -0.105, 0.058, 0.06, fur, line=True)
    face.oval(0, 0.01, 0.168, 0.122, fur, line=True)
    face.pair(0.085, -0.108, 0.04, 0.042, _WHITE)
    face.pair(0.08, -0.105, 0.019, 0.024, _DARK)
    face.oval(0, 0.05, 0.11, 0.03, (128, 44, 52))
    face.oval(0, 0.036, 0.112, 0.024, fur)


def _robot(face: _Face, fur: Colour) -> None:
    face.shape(np.array([[-0.008, -0.2], [0.008, -0.2], [0.008, -0.12], [-0.008, -0.12]]), _DARK)
    face.oval(0, -0.21, 0.028, 0.028, (235, 70, 70), line=True)
    face.pair(0.155, 0, 0.03, 0.045, (96, 108, 120), line=True)
    corners = [
        (-0.14, -0.12),
        (0.14, -0.12),
        (0.15, -0.1),
        (0.15, 0.1),
        (0.14, 0.12),
        (-0.14, 0.12),
        (-0.15, 0.1),
        (-0.15, -0.1),
    ]
    face.shape(np.array(corners), fur, line=True)
    face.shape(np.array([[-0.11, -0.07], [0.11, -0.07], [0.11, 0.02], [-0.11, 0.02]]), (36, 44, 62))
    face.pair(0.055, -0.025, 0.025, 0.025, (90, 235, 245))
    face.shape(np.array([[-0.07, 0.055], [0.07, 0.055], [0.07, 0.085], [-0.07, 0.085]]), (64, 74, 86))


_HEADS: dict[str, Callable[[_Face, Colour], None]] = {
    "bear": _bear,
    "cat": _cat,
    "rabbit": _rabbit,
    "robot": _robot,
    "frog": _frog,
    "panda": _panda,
}
