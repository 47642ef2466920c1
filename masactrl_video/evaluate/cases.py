"""What is measured on: held-out characters in poses of their own, with the exact picture of each."""

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from masactrl_video.demo.world.caption import caption
from masactrl_video.demo.world.frame import Frame, draw_frame
from masactrl_video.demo.world.identity import Identity, World, random_identity
from masactrl_video.demo.world.poses import Pose, random_pose
from masactrl_video.poses import draw
from masactrl_video.poses import pose as keypoints

_GROUNDS = {"meadow": "green", "beach": "yellow"}
"""The ground's colour, where clothes come in it."""
_SEED = 1_000_003
"""Of all cases; no training draws from it."""


@dataclass(frozen=True)
class Posed:
    """A pose at a size, in which any identity can be drawn."""

    pose: Pose
    action: str
    size_px: int

    def drawn(self, identity: Identity) -> Frame:
        """The exact picture of an identity in this pose."""
        return draw_frame(identity, self.pose, self.action, self.size_px, self.size_px)

    def body(self) -> keypoints.Pose:
        """The pose as one person's keypoints, all of them seen."""
        body = np.ones((keypoints.BODY_POINTS, 3), np.float32)
        body[:, :2] = self.pose.keypoints() * self.size_px
        return keypoints.Pose((keypoints.Person(body),), self.size_px, self.size_px)

    def skeleton(self) -> NDArray[np.uint8]:
        """The pose as guidance. RGB (height, width, 3)"""
        return draw.draw_pose(self.body())


@dataclass(frozen=True)
class Case:
    """A character, the pose of its source, and poses of one action in which it is wanted."""

    identity: Identity
    seed: int
    source: Posed
    targets: tuple[Posed, ...]

    def in_ground_colours(self) -> "Case":
        """The case with clothes in the colour of the ground; where the ground has none of theirs, in the meadow."""
        scene = self.identity.scene if self.identity.scene in _GROUNDS else "meadow"
        colour = _GROUNDS[scene]
        return replace(self, identity=replace(self.identity, scene=scene, shirt=colour, trousers=colour))

    def prompt(self, posed: Posed) -> str:
        """The caption of the character in a pose: it names species, shirt, trousers, action and scene."""
        return caption(self.identity, posed.action)


def make_cases(cases: int, targets: int, size_px: int, world: World) -> list[Case]:
    """Cases of identities that no training saw, the first always the same."""
    held_out = (_identity(index, world) for index in count())
    return [
        _case(identity, index, targets, size_px, world)
        for index, identity in zip(range(cases), (one for one in held_out if one.held_out), strict=False)
    ]


def _identity(index: int, world: World) -> Identity:
    return random_identity(np.random.default_rng((_SEED, index)), world)


def _case(identity: Identity, index: int, targets: int, size_px: int, world: World) -> Case:
    random = np.random.default_rng((_SEED, index, 1))
    source_action, action = (str(name) for name in random.choice(world.actions, 2, replace=False))
    poses = [random_pose(name, random, 1.0) for name in (source_action, *[action] * targets)]
    source, *others = (
        Posed(pose, name, size_px) for pose, name in zip(poses, (source_action, *[action] * targets), strict=True)
    )
    return Case(identity, index, source, tuple(others))
