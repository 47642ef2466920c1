"""Leakage: what of the source's figure gets into the ground of frames.

Two sources differ in the clothes of their character alone, which have the colours of the ground in one of them: noise,
prompt, pose and ground are the same. Leakage is how much the ground of a frame, more than a latent point from the
figure, differs between the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from masactrl_video.demo.world.frame import Frame
from masactrl_video.demo.world.identity import Identity
from masactrl_video.evaluate.cases import Case, Posed
from masactrl_video.evaluate.rendering import Variant, Way

LEAKS = 1.0
"""Levels of 255 from which a frame without masks leaks so much that masks can be judged by it."""
_OTHER = {"red": "blue", "blue": "yellow", "green": "red", "yellow": "red"}
_POINT_PX = 8
"""Of the latents."""


@dataclass(frozen=True)
class _Exchanged(Posed):
    """A pose in which somebody else stands."""

    other: Identity | None = None

    def drawn(self, identity: Identity) -> Frame:
        return Posed.drawn(self, self.other or identity)


def leakage(case: Case, way: Way, variants: Sequence[Variant]) -> Mapping[Variant, list[float]]:
    """For each variant, the leakage into each of the case's targets, in levels of 255."""
    case = case.in_ground_colours()
    identity, posed = case.identity, case.source
    other = replace(identity, shirt=_OTHER[identity.shirt], trousers=_OTHER[identity.trousers])
    exchanged = replace(case, source=_Exchanged(posed.pose, posed.action, posed.size_px, other))
    first, second = (way.render(one, variants, real=True, own_noise=True) for one in (case, exchanged))
    side = 2 * _POINT_PX + 1
    found: dict[Variant, list[float]] = {variant: [] for variant in variants}
    for number, target in enumerate(case.targets):
        near = cv2.dilate(target.drawn(identity).mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        for variant in variants:
            pair = first.targets[variant][number], second.targets[variant][number]
            found[variant].append(float(np.abs(np.subtract(*pair, dtype=np.int16))[~near].mean()))
    return found
