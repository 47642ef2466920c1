"""Figures whose exact silhouette is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from masactrl_video.demo.clip import HERO
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import draw_body, figure_of
from masactrl_video.demo.world.frame import draw_frame
from masactrl_video.demo.world.poses import GivenPose
from masactrl_video.poses.cycles import HEIGHT
from masactrl_video.poses.pose import Pose
from masactrl_video.sprites.alpha import Rgba, cut_out, mattes_of
from masactrl_video.sprites.body import Body
from masactrl_video.sprites.ground import Ground, enlargement, ground_of
from masactrl_video.sprites.movements import plan_movements
from masactrl_video.sprites.shape import in_agreement

SIDE_PX = 128


@dataclass(frozen=True, eq=False)
class Drawn:
    """A pose as the cartoon world draws it, and its figure cut out."""

    pose: Pose
    frame: NDArray[np.uint8]
    ground: Ground
    figure: Rgba
    """Enlarged."""
    body: Body
    over_black: NDArray[np.uint8]
    over_white: NDArray[np.uint8]


def _exact(placed: GivenPose, colour: int) -> NDArray[np.uint8]:
    canvas = Canvas(SIDE_PX, SIDE_PX)
    canvas.gradient((colour,) * 3, (colour,) * 3, 0, 1)
    draw_body(canvas, figure_of(HERO, placed.keypoints(), HEIGHT))
    return canvas.picture()


@pytest.fixture(scope="session")
def drawn() -> list[Drawn]:
    """Eight poses of three movements, over the meadow with its tree, hill and shadow."""
    movements = plan_movements(["run", "jump", "wave"], 1, mirror=True, rate=None)
    chosen = [*range(0, len(movements.poses) - movements.aside, 3), -2, -1]
    poses = [movements.poses[at] for at in chosen]
    placed = [GivenPose(pose.people[0].body[:, :2].astype(float) / pose.height_px, HEIGHT) for pose in poses]
    frames = [draw_frame(HERO, one, "running", SIDE_PX, SIDE_PX).image for one in placed]
    bodies = [Body.of(pose, SIDE_PX * enlargement(SIDE_PX)) for pose in poses]
    ground = ground_of(frames, bodies, movements.aside)
    shown, bodies = frames[:-2], bodies[:-2]
    agreed = in_agreement(shown, bodies, mattes_of(shown, bodies, ground), [range(len(shown))])
    return [
        Drawn(pose, frame, ground, cut_out(frame, matte), body, _exact(one, 0), _exact(one, 255))
        for pose, frame, matte, body, one in zip(poses[:-2], shown, agreed, bodies, placed[:-2], strict=True)
    ]
