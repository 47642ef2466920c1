"""Poses of one body for another: its bone lengths, the same angles.

Pictures are two-dimensional: a bone that points at the camera is drawn short. Two promises can be had:

- by default every bone that is drawn has, in every frame, the length that the reference gives it;
- with keep_foreshortening a bone keeps its share of its own full length (`skeleton.full_lengths`): a frame that
  shows half of a forearm shows half of the reference's, and none shows more than the whole.

In both, the direction of every bone stays as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.proportions import Proportions, complete
from masactrl_video.poses.skeleton import (
    ANKLES,
    BODY_BONES,
    HIPS,
    NECK,
    NOSE,
    WRISTS,
    full_lengths,
    middle,
    nearest_ancestors,
    over_time,
)
from masactrl_video.poses.tracking import Track

Floats = NDArray[np.float64]


def retarget(track: Track, lengths_px: Floats, *, keep_foreshortening: bool = False) -> Track:
    """The person of a track with other bone lengths.

    The root, the middle of the hips or without hips the neck, moves as before, but by as much more or less as the legs
    are longer or shorter; so does the lower ankle, so that who stood on the ground stands on it. Hands grow with their
    forearm, the face with the head. A point whose parent is missing keeps its direction from the nearest ancestor.

    Args:
        track: the whole clip: what a bone measures at full length is read off all its frames.
        lengths_px: of BODY_BONES, (17,); NaN where unknown: taken from the other side of the body, or from the track
            and scaled like the bones that are known.
        keep_foreshortening: see above.

    Raises:
        UserError: no bone is known of both bodies.
    """
    body = track.parts["body"]
    sizes = complete(lengths_px, full_lengths(body, BODY_BONES))
    place = _Placement.of(body, sizes.body_ratio)
    reached = place(body)
    _lay_bones(body, reached, sizes, keep_foreshortening)
    shift = _shift(body, reached, place)
    reached[..., :2] += shift[:, None]
    reached[body[..., 2] <= 0] = 0
    parts = {"body": reached}
    for name, points in track.parts.items():
        if name != "body":
            anchor, ratio = (NOSE, sizes.head_ratio) if name == "face" else (WRISTS[name], sizes.forearm_ratio(name))
            parts[name] = _carried(points, body, reached, anchor, ratio, place, shift)
    return Track(parts)


class _Placement:
    """Where a point of the picture goes: scaled about the place on the ground where the person is."""

    def __init__(self, centre: Floats, ratio: float) -> None:
        self._centre, self._ratio = centre, ratio

    @classmethod
    def of(cls, body: Floats, ratio: float) -> _Placement:
        roots = _root(body)
        seen = body[..., 2] > 0
        centre = np.nanmedian(roots, axis=0) if not np.isnan(roots).all() else body[seen][:, :2].mean(axis=0)
        lowest = _lowest_ankle(body)
        if not np.isnan(lowest).all():
            centre = np.array([centre[0], np.nanpercentile(lowest, 95)])
        return cls(centre, ratio)

    def __call__(self, points: Floats) -> Floats:
        moved = points.copy()
        moved[..., :2] = self._centre + self._ratio * (points[..., :2] - self._centre)
        return moved


def _lay_bones(body: Floats, reached: Floats, sizes: Proportions, keep_foreshortening: bool) -> None:
    """Sets each point of `reached` (frames, 18, 3) at the end of its bone; points without an ancestor stay."""
    ancestors = nearest_ancestors(body[..., 2] > 0, BODY_BONES)
    frames = np.arange(len(body))
    for bone, (parent, child) in enumerate(BODY_BONES):
        ancestor = ancestors[:, child]
        vector = body[:, child, :2] - body[frames, ancestor, :2]  # -> (frames, 2)
        drawn = np.linalg.norm(vector, axis=1)
        full_px = sizes.own_px[bone]
        share = np.minimum(drawn / full_px, 1) if keep_foreshortening and full_px > 0 else np.ones(len(body))
        wanted = np.where(ancestor == parent, share * sizes.target_px[bone], sizes.body_ratio * drawn)
        hangs = ancestor >= 0
        laid = reached[frames, ancestor, :2] + wanted[:, None] * _directions(vector, drawn, hangs)
        reached[hangs, child, :2] = laid[hangs]


def _directions(vector: Floats, drawn: Floats, hangs: NDArray[np.bool_]) -> Floats:
    """(frames, 2) of length 1; a bone that points straight at the camera takes the direction of the frames around."""
    known = hangs & (drawn > 0)
    unit = np.where(known[:, None], vector / np.where(known, drawn, 1)[:, None], np.nan)
    unit = over_time(unit)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    directions: Floats = np.where(length > 0, unit / np.where(length > 0, length, 1), [0.0, 1.0])
    return directions


def _shift(body: Floats, reached: Floats, place: _Placement) -> Floats:
    """(frames, 2): brings the root, and then the lower ankle in height, to where the placement wants them."""
    root = over_time(place(_root(body)) - _root(reached, like=body))
    lower = place(np.stack([np.zeros(len(body)), _lowest_ankle(body)], axis=1))[:, 1]
    height = over_time(lower - _lowest_ankle(reached, like=body) - root[:, 1])
    shift: Floats = root + np.stack([np.zeros(len(body)), height], axis=1)
    return shift


def _root(points: Floats, like: Floats | None = None) -> Floats:
    """(frames, 2): the middle of the hips where the clip shows them at all, else the neck; NaN in frames without.

    like: the poses that decide which points are seen.
    """
    seen = points if like is None else like
    indices = HIPS if not np.isnan(middle(seen, HIPS)).all() else [NECK]
    known = points.copy()
    known[..., 2] = seen[..., 2]
    return middle(known, indices)


def _lowest_ankle(points: Floats, like: Floats | None = None) -> Floats:
    """(frames,): y_px of the lower ankle; NaN in frames without all ankles that the clip shows at all."""
    seen = (points if like is None else like)[:, ANKLES, 2] > 0
    used = seen.any(axis=0)
    if not used.any():
        return np.full(len(points), np.nan)
    lowest: Floats = points[:, ANKLES, 1][:, used].max(axis=1)
    lowest[~seen[:, used].all(axis=1)] = np.nan
    return lowest


def _carried(
    points: Floats, body: Floats, reached: Floats, anchor: int, ratio: float, place: _Placement, shift: Floats
) -> Floats:
    """A hand or face (frames, points, 3), scaled about the body point on which it hangs and moved with it."""
    hangs = body[:, anchor, 2] > 0
    moved = place(points)
    moved[..., :2] += shift[:, None]
    offset = points[..., :2] - body[:, anchor, None, :2]
    moved[hangs, :, :2] = (reached[:, anchor, None, :2] + ratio * offset)[hangs]
    moved[points[..., 2] <= 0] = 0
    return moved
