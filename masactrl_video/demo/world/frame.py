"""The one right picture of an identity in a pose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import draw_figure, figure_of
from masactrl_video.demo.world.identity import FULL_WORLD, Identity, World, random_identity
from masactrl_video.demo.world.poses import Posture, random_pose
from masactrl_video.demo.world.scene import draw_scene


@dataclass(frozen=True)
class Frame:
    """A drawn picture and all that is known about it."""

    image: NDArray[np.uint8]
    """RGB (height, width, 3)."""
    mask: NDArray[np.bool_]
    """The character's silhouette. (height, width)"""
    keypoints: NDArray[np.float64]
    """The 18 COCO keypoints (x, y) in pixels, in the order of OpenPose; they may lie outside. (18, 2)"""
    caption: str
    identity: Identity
    action: str


def draw_frame(identity: Identity, pose: Posture, action: str, height: int, width: int) -> Frame:
    """Draws an identity in a pose. The same arguments give the same bytes.

    Args:
        action: what the caption says that the character does.
        height: of the picture in pixels.
        width: of the picture in pixels.
    """
    canvas = Canvas(height, width)
    joints = pose.keypoints()
    draw_scene(canvas, identity)
    draw_figure(canvas, figure_of(identity, joints, pose.height))
    return Frame(canvas.picture(), canvas.mask(), joints * height, caption(identity, action), identity, action)


def random_frame(seed: int | tuple[int, ...], height: int, width: int, world: World = FULL_WORLD) -> Frame:
    """A frame whose identity, action, pose and place all follow from the seed."""
    random = np.random.default_rng(seed)
    return posed_at_random(random_identity(random, world), random, height, width, world)


def posed_at_random(
    identity: Identity, random: np.random.Generator, height: int, width: int, world: World = FULL_WORLD
) -> Frame:
    """A frame of an identity in a random pose of a random action."""
    action = world.actions[int(random.integers(len(world.actions)))]
    return draw_frame(identity, random_pose(action, random, width / height), action, height, width)
