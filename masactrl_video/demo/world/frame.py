"""The one right picture of an identity in a pose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.figure import draw_figure, figure_of
from masactrl_video.demo.world.identity import FULL_WORLD, Identity, World, random_identity
from masactrl_video.demo.world.poses import Posture, random_pose
from masactrl_video.demo.world.scene import View, draw_scene


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


def draw_frame(
    identity: Identity, pose: Posture, action: str, height: int, width: int, view: View | None = None
) -> Frame:
    """Draws an identity in a pose. The same arguments give the same bytes.

    Args:
        action: what the caption says that the character does.
        height: of the picture in pixels.
        width: of the picture in pixels.
        view: of a place that goes on on both sides; None: of one that has a single tree, or whatever it has.
    """
    canvas = Canvas(height, width)
    joints = pose.keypoints()
    draw_scene(canvas, identity, view)
    draw_figure(canvas, figure_of(identity, joints, pose.height))
    return Frame(canvas.picture(), canvas.mask(), joints * height, caption(identity, action), identity, action)


@dataclass(frozen=True)
class GroupFrame:
    """A drawn picture of several characters, and what is known of each."""

    image: NDArray[np.uint8]
    """RGB (height, width, 3)."""
    masks: tuple[NDArray[np.bool_], ...]
    """What is seen of each character: those that come later in the list stand in front. (height, width)"""
    keypoints: tuple[NDArray[np.float64], ...]
    """Of each, as in `Frame`."""
    identities: tuple[Identity, ...]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where any of them is. (height, width)"""
        found: NDArray[np.bool_] = np.any(self.masks, axis=0)
        return found


def draw_group(
    identities: Sequence[Identity], poses: Sequence[Posture], height: int, width: int, view: View | None = None
) -> GroupFrame:
    """Draws characters in the scene of the first, one after the other, so that the last one stands in front."""
    canvas, whole = Canvas(height, width), []
    draw_scene(canvas, identities[0], view)
    for identity, pose in zip(identities, poses, strict=True):
        draw_figure(canvas, figure_of(identity, pose.keypoints(), pose.height))
        whole.append(canvas.mask())
        canvas.forget_mask()
    seen = [mask & ~np.any(whole[place + 1 :], axis=0) for place, mask in enumerate(whole)]
    keypoints = tuple(pose.keypoints() * height for pose in poses)
    return GroupFrame(canvas.picture(), tuple(seen), keypoints, tuple(identities))


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
