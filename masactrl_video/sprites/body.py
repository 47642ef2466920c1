"""Where in a picture a body of a given pose certainly is, and where it may be: skeletons made as thick as flesh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import LIMBS, Pose
from masactrl_video.poses.skeleton import ANKLES, HIPS, NECK, NOSE

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_TORSO = ((2, 5), (5, 11), (11, 8), (8, 2), (NECK, NOSE))
_FACE = (NOSE, 14, 15, 16, 17)
_BONE_ENDS = ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13), (2, 8), (5, 11))
_SHIFT = 4  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True)
class _Flesh:
    """Radii in lengths of the trunk."""

    limb: float
    torso: float
    head: float


_BONE = _Flesh(limb=0.07, torso=0.05, head=0.28)
_FLESH = _Flesh(limb=0.13, torso=0.15, head=0.45)
_FOOT = (0.21, 0.16)
_FOOT_AT = (0.07, 0.04)
"""Half width and height of a foot, and how far its middle is outward from the ankle and below it: toes of a figure that
faces us point outward."""
_HIP = 0.05
"""How far a hip is from the middle, in lengths of the trunk, of a figure that is seen from the front."""
_WIDE = _Flesh(limb=0.45, torso=0.45, head=1.3)  # with coat, hair, hat and shoes


@dataclass(frozen=True, eq=False)
class Bone:
    """What the body is measured along."""

    start: Floats
    """x and y in px."""
    way: Floats
    """From there to its end; a unit."""
    length_px: float
    flesh_px: float
    """How thick the body is about it, as a radius."""

    def point(self) -> Bone:
        """Its end alone, which keeps its way."""
        return replace(self, start=self.start + self.length_px * self.way, length_px=0.0)


@dataclass(frozen=True, eq=False)
class Body:
    """The first person of a pose on a picture of a given side."""

    BONES: ClassVar = len(_BONE_ENDS) + 2
    """How many `bones` has."""

    points: Floats
    """(18, 2), x and y in px of the picture."""
    seen: Flags
    """(18,)"""
    side_px: int

    @classmethod
    def of(cls, pose: Pose, side_px: int) -> Body:
        """The person of a square pose.

        Raises:
            UserError: nobody is there, or it is not seen how large they are.
        """
        body = pose.people[0].body.astype(np.float64) if pose.people else np.zeros((18, 3))
        seen = body[:, 2] > 0
        if not seen[[NECK, *HIPS]].all():
            raise UserError("actions: a pose without neck and hips cannot be made a sprite; give whole bodies")
        return cls(body[:, :2] * side_px / pose.height_px, seen, side_px)

    @property
    def trunk_px(self) -> float:
        """From the neck to the middle of the hips; seen from any side it keeps its length."""
        return float(np.linalg.norm(self.points[NECK] - self.points[HIPS].mean(axis=0)))

    @property
    def lowest_px(self) -> float:
        """y of the lower ankle."""
        return float(self.points[[ankle for ankle in ANKLES if self.seen[ankle]], 1].max())

    def certain(self) -> Flags:
        """Where it is, whatever it wears. (side, side)"""
        return self._drawn(_BONE)

    def parts(self) -> tuple[Flags, Flags]:
        """What is certain of it: the head, and the rest. (side, side) each"""
        head = self._head_drawn(_BONE)
        return head, self.certain() & ~head

    def likely(self) -> Flags:
        """Where it is, unless it is thin. (side, side)"""
        return self._drawn(_FLESH)

    def possible(self) -> Flags:
        """Where it may be, with all it may wear. (side, side)"""
        return self._drawn(_WIDE)

    def feet(self) -> Flags:
        """Where a foot is, about each ankle. (side, side)"""
        canvas, trunk = np.zeros((self.side_px, self.side_px), np.uint8), self.trunk_px
        half = np.round(np.array(_FOOT) * trunk).astype(int).tolist()
        for hip, ankle in zip(HIPS, ANKLES, strict=True):
            if self.seen[ankle]:
                aside = (self.points[hip, 0] - self.points[HIPS, 0].mean()) / (_HIP * trunk)
                middle = self.points[ankle] + trunk * np.array(_FOOT_AT) * (np.clip(aside, -1, 1), 1)
                cv2.ellipse(canvas, np.round(middle).astype(int).tolist(), half, 0, 0, 360, 255, -1)
        found: Flags = canvas > 0
        return found

    def low(self, share: float) -> Flags:
        """Rows from so far above the lower ankle, in lengths of the trunk. (side, 1)"""
        found: Flags = np.arange(self.side_px)[:, None] > self.lowest_px - share * self.trunk_px
        return found

    def shadowed(self) -> Flags:
        """Where the shadow about its feet may be. (side, side)"""
        feet = self.points[[ankle for ankle in ANKLES if self.seen[ankle]]]
        across, down = np.meshgrid(np.arange(self.side_px), np.arange(self.side_px))
        trunk = self.trunk_px
        wide = np.ptp(feet[:, 0]) / 2 + trunk
        found: Flags = ((across - feet[:, 0].mean()) / wide) ** 2 + ((down - self.lowest_px) / (0.5 * trunk)) ** 2 < 1
        return found

    def bones(self) -> list[Bone | None]:
        """Of arms and legs, both sides of the trunk, its middle, and the head; None where an end is not seen."""
        limbs = [
            self._bone(self.points[first], self.points[second], _FLESH.limb)
            if self.seen[[first, second]].all()
            else None
            for first, second in _BONE_ENDS
        ]
        neck, head = self.points[NECK], self._head()
        trunk = self._bone(neck, self.points[HIPS].mean(axis=0), _FLESH.torso)
        return [*limbs, trunk, None if head is None else self._bone(neck, head, _FLESH.head).point()]

    def _bone(self, start: Floats, end: Floats, radius: float) -> Bone:
        length_px = float(np.linalg.norm(end - start))
        return Bone(start, (end - start) / max(length_px, 1e-6), length_px, radius * self.trunk_px)

    def _head(self) -> Floats | None:
        """The middle of what is seen of the face."""
        face = [at for at in _FACE if self.seen[at]]
        return self.points[face].mean(axis=0) if face else None

    def _drawn(self, flesh: _Flesh) -> Flags:
        canvas, trunk = np.zeros((self.side_px, self.side_px), np.uint8), self.trunk_px
        torso = [self.points[at] for at in (2, 5, 11, 8)]
        if self.seen[[2, 5, 11, 8]].all():
            cv2.fillPoly(canvas, [_fixed(np.array(torso))], 255, cv2.LINE_AA, _SHIFT)
        for pairs, radius in ((LIMBS[:17], flesh.limb), (_TORSO, flesh.torso)):
            for first, second in pairs:
                if self.seen[first] and self.seen[second] and not {first, second} & set(_FACE[1:]):
                    ends = _fixed(self.points[[first, second]])
                    thick = max(1, round(2 * radius * trunk))
                    cv2.line(canvas, ends[0].tolist(), ends[1].tolist(), 255, thick, cv2.LINE_AA, _SHIFT)
        drawn: Flags = (canvas > 127) | self._head_drawn(flesh)
        return drawn

    def _head_drawn(self, flesh: _Flesh) -> Flags:
        canvas, head = np.zeros((self.side_px, self.side_px), np.uint8), self._head()
        if head is not None:
            centre = _fixed(head[None])[0].tolist()
            cv2.circle(canvas, centre, round(flesh.head * self.trunk_px * 2**_SHIFT), 255, -1, cv2.LINE_AA, _SHIFT)
        drawn: Flags = canvas > 127
        return drawn


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.asarray(np.round((points - 0.5) * 2**_SHIFT), np.int32)
