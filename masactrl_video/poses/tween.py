"""Poses between key poses: angles and lengths of bones are interpolated along the skeleton, so no limb shrinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.skeleton import BODY_BONES, HAND_BONES, HIPS, NECK, NOSE, WRISTS, Bones
from masactrl_video.poses.tracking import Track, poses_of, track_people, tracks_of
from masactrl_video.settings.names import Easing

Floats = NDArray[np.float64]

MOST_FRAMES = 100_000


def tween(keys: Sequence[Pose], at: Sequence[int], *, easing: Easing = "linear", loop: bool = False) -> list[Pose]:
    """A pose for every frame from the first key to the last.

    Args:
        keys: key poses, two or more; those on another canvas than the first are scaled to it.
        at: frame of each key, ascending from 0. With `loop` one more: the frame at which the first key comes again;
            it is not among the poses, so that a player that starts over shows it next.
        easing: see `settings.names.Easing`.
        loop: close the sequence.

    Raises:
        UserError: too few keys, or frames that are not one for each key and ascending from 0.
    """
    _check(keys, at, easing, loop)
    canvas = keys[0].width_px, keys[0].height_px
    tracked = track_people([key.scaled(width_px=canvas[0], height_px=canvas[1]) for key in keys])
    count = at[-1] + (0 if loop else 1)
    tracks = [_tween_track(track, at, easing, loop, count) for track in tracks_of(tracked)]
    return poses_of(tracks, [Pose((), *canvas)] * count)


def _check(keys: Sequence[Pose], at: Sequence[int], easing: str, loop: bool) -> None:
    if easing not in get_args(Easing):
        raise UserError(f"easing: got {easing!r}; allowed: {', '.join(get_args(Easing))}")
    if len(keys) < 2:
        raise UserError(f"tween: {len(keys)} key pose; two or more are needed")
    if len(at) != len(keys) + loop:
        more = ", and one for the return to the first" if loop else ""
        raise UserError(
            f"tween: {counted(len(at), 'frame number')} for {counted(len(keys), 'key pose')}; give one for each{more}"
        )
    if at[0] != 0 or any(after <= before for before, after in pairwise(at)) or at[-1] > MOST_FRAMES:
        raise UserError(f"tween: frames {' '.join(map(str, at))}; they begin with 0, ascend, and end by {MOST_FRAMES}")


@dataclass(frozen=True, eq=False)
class _Moment:
    """A frame between two keys, and how values of the keys are mixed there."""

    keys: tuple[int | None, int, int, int | None]
    """The keys before, at the start, at the end and after; None where there is none."""
    spans: tuple[float, float, float]
    """Frames from each of those to the next."""
    share: float
    """0 at the start, 1 at the end, eased."""
    curved: bool

    @property
    def nearer(self) -> int:
        return self.keys[1] if self.share <= 0.5 else self.keys[2]

    def mix(self, value: Callable[[int], Floats | None], *, turn: bool = False) -> Floats:
        """The value between those of the two keys. turn: they are angles, and go the shorter way round."""
        start, end = value(self.keys[1]), value(self.keys[2])
        assert start is not None and end is not None
        step = _wrapped(end - start) if turn else end - start
        if not self.curved:
            return start + self.share * step
        # Catmull-Rom: a cubic Hermite segment whose slopes are the chords over the keys around
        slopes = [step, step]
        for side, (outer, inner) in enumerate(((self.keys[0], start), (self.keys[3], end))):
            beyond = value(outer) if outer is not None else None
            if beyond is not None:
                outside = (inner - beyond) if side == 0 else (beyond - inner)
                outside = _wrapped(outside) if turn else outside
                span = self.spans[0] if side == 0 else self.spans[2]
                slopes[side] = (outside + step) * self.spans[1] / (span + self.spans[1])
        w = self.share
        eased = w * w * (3 - 2 * w)
        return start + eased * step + w * (1 - w) ** 2 * slopes[0] - w * w * (1 - w) * slopes[1]


def _moment(frame: int, at: Sequence[int], count: int, easing: str, loop: bool) -> _Moment:
    segment = min(int(np.searchsorted(at, frame, side="right")) - 1, len(at) - 2)
    share = (frame - at[segment]) / (at[segment + 1] - at[segment])
    gaps = [after - before for before, after in pairwise(at)]

    def key(index: int) -> int | None:
        return index % count if loop or 0 <= index < count else None

    around = (key(segment - 1), segment, (segment + 1) % count, key(segment + 2))
    spans = (gaps[segment - 1], gaps[segment], gaps[(segment + 1) % len(gaps)])
    return _Moment(
        around, spans, share * share * (3 - 2 * share) if easing == "ease-in-out" else share, easing == "catmull-rom"
    )


def _tween_track(track: Track, at: Sequence[int], easing: str, loop: bool, count: int) -> Track:
    keys = track.parts["body"]
    moments = [_moment(frame, at, len(keys), easing, loop) for frame in range(count)]
    body = np.stack([_body(keys, moment) for moment in moments])
    parts = {"body": body}
    for name, points in track.parts.items():
        if name != "body":
            make, anchor = (_face, NOSE) if name == "face" else (_hand, WRISTS[name])
            parts[name] = np.stack(
                [_hung(points, keys, shown, anchor, moment, make) for shown, moment in zip(body, moments, strict=True)]
            )
    return Track(parts)


def _body(keys: Floats, moment: _Moment) -> Floats:
    """(18, 3) from the keys (keys, 18, 3); the middle of the hips, where both keys have it, moves on its own."""
    points = _tree(keys, BODY_BONES, NECK, moment)
    if all(_has(keys, key, hip) for key in moment.keys[1:3] for hip in HIPS):
        wanted = moment.mix(lambda key: keys[key, HIPS, :2].mean(axis=0) if _has(keys, key, *HIPS) else None)
        points[points[:, 2] > 0, :2] += wanted - points[HIPS, :2].mean(axis=0)
    return points


def _tree(keys: Floats, bones: Bones, root: int, moment: _Moment) -> Floats:
    """Points (points, 3) of a tree of bones; one that only one key has is there while that key is the nearer one."""
    start, end = moment.keys[1:3]
    points = np.zeros(keys.shape[1:])
    parents = {child: parent for parent, child in bones}
    for point in (root, *(child for _, child in bones)):
        both = _has(keys, start, point) and _has(keys, end, point)
        if not both and not _has(keys, moment.nearer, point):
            continue
        needed = (start, end) if both else (moment.nearer,)
        ancestor = parents.get(point)
        while ancestor is not None and not (points[ancestor, 2] > 0 and all(_has(keys, k, ancestor) for k in needed)):
            ancestor = parents.get(ancestor)
        points[point] = (
            _joined(keys, point, ancestor, points, moment) if both else _held(keys, point, ancestor, points, moment)
        )
    return points


def _joined(keys: Floats, point: int, ancestor: int | None, points: Floats, moment: _Moment) -> Floats:
    """A point that both keys have: turned and stretched about its ancestor, or moved straight where it has none."""
    start, end = moment.keys[1:3]
    confidence = min(keys[start, point, 2], keys[end, point, 2])
    if ancestor is None:
        xy = moment.mix(lambda key: keys[key, point, :2] if _has(keys, key, point) else None)
        return np.array([*xy, confidence])

    def vector(key: int) -> Floats | None:
        return keys[key, point, :2] - keys[key, ancestor, :2] if _has(keys, key, point, ancestor) else None

    def angle(key: int) -> Floats | None:
        v = vector(key)
        return None if v is None else np.array(math.atan2(v[1], v[0]))

    lengths = [math.hypot(*(keys[key, point, :2] - keys[key, ancestor, :2])) for key in (start, end)]
    length = lengths[0] + moment.share * (lengths[1] - lengths[0])
    turned = float(moment.mix(angle, turn=True))
    x, y = points[ancestor, :2] + length * np.array([math.cos(turned), math.sin(turned)])
    return np.array([x, y, confidence])


def _held(keys: Floats, point: int, ancestor: int | None, points: Floats, moment: _Moment) -> Floats:
    """A point that only the nearer key has: as it hangs on its ancestor there."""
    found: Floats = keys[moment.nearer, point].copy()
    if ancestor is not None:
        found[:2] += points[ancestor, :2] - keys[moment.nearer, ancestor, :2]
    return found


def _hung(
    keys: Floats,
    bodies: Floats,
    body: Floats,
    anchor: int,
    moment: _Moment,
    make: Callable[[Floats, _Moment], Floats],
) -> Floats:
    """A hand or face, made relative to the body point on which it hangs and put where that is now."""
    shown = [key for key in moment.keys[1:3] if (keys[key, :, 2] > 0).any()]
    if body[anchor, 2] > 0 and _has(bodies, moment.nearer, anchor) and all(_has(bodies, key, anchor) for key in shown):
        relative = keys.copy()
        relative[..., :2] -= bodies[:, anchor, None, :2]
        relative[bodies[:, anchor, 2] <= 0] = 0
        points = make(relative, moment)
        points[:, :2] += body[anchor, :2]
    else:
        points = make(keys, moment)
    points[points[:, 2] <= 0] = 0
    return points


def _hand(keys: Floats, moment: _Moment) -> Floats:
    """(21, 3): the bones of the fingers are turned one by one."""
    return _tree(keys, HAND_BONES, 0, moment)


def _face(keys: Floats, moment: _Moment) -> Floats:
    """(68 or 70, 3): turned and scaled as a whole, what else changes goes straight."""
    start, end = moment.keys[1:3]
    both = (keys[start, :, 2] > 0) & (keys[end, :, 2] > 0)
    if both.sum() < 2:
        held: Floats = keys[moment.nearer].copy()
        return held
    first, last = (keys[key, both, 0] + 1j * keys[key, both, 1] for key in (start, end))
    w, centre = moment.share, (1 - moment.share) * first.mean() + moment.share * last.mean()
    first, last = first - first.mean(), last - last.mean()
    angle = np.angle(np.vdot(first, last))  # of the best rotation: Procrustes in the complex plane
    mixed = centre + np.exp(1j * angle * w) * ((1 - w) * first + w * last * np.exp(-1j * angle))
    points = np.zeros(keys.shape[1:])
    confidence = np.minimum(keys[start, both, 2], keys[end, both, 2])
    points[both] = np.stack([mixed.real, mixed.imag, confidence], axis=1)
    return points


def _has(keys: Floats, key: int, *points: int) -> bool:
    return all(bool(keys[key, point, 2] > 0) for point in points)


def _wrapped(angle: Floats) -> Floats:
    """Between -π and π."""
    wrapped: Floats = (angle + math.pi) % (2 * math.pi) - math.pi
    return wrapped
