"""Bone lengths of a body: measured on a reference pose, and completed where the reference does not show a bone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Person
from masactrl_video.poses.skeleton import BODY_BONES, BONE_NAMES, bone_lengths, mirrored_bone

Floats = NDArray[np.float64]

_LEGS = [BONE_NAMES.index(f"{side}-{part}") for side in ("right", "left") for part in ("thigh", "shin")]
_TRUNK = [BONE_NAMES.index(f"{side}-trunk") for side in ("right", "left")]
_FACE = [BONE_NAMES.index(f"{side}-{part}") for side in ("right", "left") for part in ("eye", "ear")]
_NECK = [BONE_NAMES.index("neck")]


@dataclass(frozen=True, eq=False)
class Proportions:
    """What a body's bones measure and what they shall measure, (17,) px each in the order of BODY_BONES."""

    own_px: Floats
    """NaN for bones that the clip never shows."""
    target_px: Floats
    """Known wherever `own_px` is."""

    @property
    def body_ratio(self) -> float:
        """Target to own: of the legs, without them of the trunk, without that of all bones."""
        return self._ratio(_LEGS, _TRUNK)

    @property
    def head_ratio(self) -> float:
        """Target to own of eyes and ears, without them of the neck, without that of the body."""
        return self._ratio(_FACE, _NECK, _LEGS, _TRUNK)

    def forearm_ratio(self, hand: str) -> float:
        """Target to own of the forearm of `left_hand` or `right_hand`; where it is not shown, of the body."""
        return self._ratio([BONE_NAMES.index(hand.replace("_hand", "-forearm"))], _LEGS, _TRUNK)

    def _ratio(self, *choices: Sequence[int]) -> float:
        known = _both_known(self.target_px, self.own_px)
        for bones in (*choices, range(len(BONE_NAMES))):
            used = [bone for bone in bones if known[bone]]
            if used:
                return float(self.target_px[used].sum() / self.own_px[used].sum())
        raise UserError("retarget: the poses show no whole bone, so nothing can be measured on them")


def measure(person: Person) -> Floats:
    """Bone lengths of a reference person, (17,) px; NaN where an end is missing.

    Raises UserError when no bone is whole.
    """
    lengths = bone_lengths(person.body.astype(np.float64), BODY_BONES)
    lengths[lengths == 0] = np.nan
    if np.isnan(lengths).all():
        raise UserError("retarget: the reference shows no whole bone; give a pose with more points")
    return lengths


def given_lengths(lengths_px: Mapping[str, float]) -> Floats:
    """Bone lengths by name (BONE_NAMES), (17,) px; NaN for those not named. Raises UserError for other names."""
    lengths = np.full(len(BONE_NAMES), np.nan)
    for name, length_px in lengths_px.items():
        if name not in BONE_NAMES:
            raise UserError(f"retarget: there is no bone {name!r}; there are: {', '.join(BONE_NAMES)}")
        if not (math.isfinite(length_px) and length_px > 0):
            raise UserError(f"retarget: {name} = {length_px}; a length in pixels above 0 is wanted")
        lengths[BONE_NAMES.index(name)] = length_px
    return lengths


def complete(target_px: Floats, own_px: Floats) -> Proportions:
    """Target lengths for every bone that the clip shows.

    A bone that the target does not give has the length of the same bone on the other side, or else its own, scaled
    by the median ratio of the bones that are known. Raises UserError when no bone is known of both.
    """
    target = np.array([_own_or_mirrored(target_px, bone) for bone in range(len(target_px))])
    known = _both_known(target, own_px)
    if not known.any():
        raise UserError("retarget: the reference and the poses have no bone in common; give a pose that shows more")
    ratio = float(np.median(target[known] / own_px[known]))
    return Proportions(own_px, np.where(np.isnan(target), ratio * own_px, target))


def _own_or_mirrored(lengths_px: Floats, bone: int) -> float:
    own = float(lengths_px[bone])
    return float(lengths_px[mirrored_bone(bone)]) if math.isnan(own) else own


def _both_known(target_px: Floats, own_px: Floats) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = (target_px > 0) & (own_px > 0)  # False for NaN
    return known
