"""Does it follow the motion: the poses of the result against those that are wanted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from masactrl_video.measure.figure import Definition, Figure, Floats, Values
from masactrl_video.measure.moments import Moment
from masactrl_video.poses.agreement import distances_px, head_px, similarity, torso_px
from masactrl_video.poses.pose import BODY_POINTS, Keypoints, Pose

_NOT_SAID = "Frames in which the detector errs count as the clip's errors. Hands and face are not looked at."

PCK_TORSO = Definition(
    name="pose-pck-torso",
    title="Keypoints followed (PCK at 0.2 torso)",
    question="Does it follow the motion?",
    better="higher",
    perfect=1.0,
    formula="share of the wanted body points that are found less than 0.2 torso away (left shoulder to right hip), for "
    "each point over the frames, then the mean of the points; a point that is not found is a miss",
    source="PCK as in Sapp and Taskar 2013 and Yang and Ramanan 2013; averaged as in mmpose",
    not_said=_NOT_SAID,
    digits=3,
)

PCK_HEAD = Definition(
    name="pose-pck-head",
    title="Keypoints followed (PCK at 0.5 head)",
    question="Does it follow the motion?",
    better="higher",
    perfect=1.0,
    formula="as by the torso, but less than 0.5 head away (neck to nose)",
    source="PCKh of Andriluka et al. 2014, with the neck's distance to the nose in place of the head's box",
    not_said=f"{_NOT_SAID} Not comparable with PCKh of MPII, whose box of the head these points do not have.",
    digits=3,
)

OKS = Definition(
    name="pose-oks",
    title="Pose similarity (OKS)",
    question="Does it follow the motion?",
    better="higher",
    perfect=1.0,
    formula="mean over wanted points of exp(−d² / (2 s² (2σ)²)), s² 0.53 of the box around them, σ of COCO (without "
    "the neck); 0 for a person who is not found; mean over people, then frames",
    source="COCO keypoint evaluation (cocodataset.org, pycocotools)",
    not_said=_NOT_SAID,
    digits=3,
)

_BOUNDS = {PCK_TORSO: (torso_px, 0.2), PCK_HEAD: (head_px, 0.5)}


class Following:
    """`PCK_TORSO`, `PCK_HEAD` and `OKS`."""

    def __init__(self) -> None:
        self._values = {about: Values() for about in (*_BOUNDS, OKS)}
        self._without = 0

    def add(self, moment: Moment) -> None:
        """Look at the next frame; those in which nobody is wanted are passed over."""
        if moment.wanted is None or moment.found is None or not moment.wanted.has_person:
            return
        self._without += not moment.found.has_person
        pairs = matched_people(moment.found, moment.wanted)
        for about, (size_px, share) in _BOUNDS.items():
            hits = [near(found, wanted, share * size_px(wanted)) for found, wanted in pairs]
            hits = [row for row in hits if not np.isnan(row).all()]
            if hits:
                self._values[about].add(moment.frame, _mean_of_known(np.stack(hits)))
        alike = [similarity(found, wanted) for found, wanted in pairs]
        known = [value for value in alike if not np.isnan(value)]
        if known:
            self._values[OKS].add(moment.frame, float(np.mean(known)))

    def figures(self) -> Iterator[Figure]:
        """Those that have a value."""
        notes = (f"nobody is found in {self._without} frames",) if self._without else ()
        for about, values in self._values.items():
            if not len(values):
                continue
            frames, samples = np.array(values.frames, np.int64), values.array()
            if about is OKS:
                yield Figure(about, frames, samples, notes=notes)
                continue
            yield Figure(about, frames, np.nanmean(samples, axis=1), samples, _mean_of_points, notes)


def near(found: Keypoints, wanted: Keypoints, within_px: float) -> Floats:
    """(18,): 1 where a wanted point is found nearer than that, else 0; NaN where none is wanted or the bound is NaN."""
    away = distances_px(found, wanted)
    return np.where(np.isnan(away) | np.isnan(within_px), np.nan, away < within_px)


def matched_people(found: Pose, wanted: Pose) -> list[tuple[Keypoints, Keypoints]]:
    """Each wanted person with the one who is found nearest, nobody twice; without one, with nobody's points."""
    from scipy.optimize import linear_sum_assignment

    nobody = np.zeros((BODY_POINTS, 3), np.float32)
    seen = [person.body for person in wanted.people if person.visible]
    there = [person.body for person in found.people if person.visible]
    alike = np.array([[_nearness(one, other) for one in there] for other in seen]).reshape(len(seen), len(there))
    partners = dict(zip(*linear_sum_assignment(-alike), strict=True))
    return [(there[partners[at]] if at in partners else nobody, body) for at, body in enumerate(seen)]


def _nearness(found: Keypoints, wanted: Keypoints) -> float:
    """Higher for nearer people: similarity, and where that is 0 for all who are far, less for those who are farther."""
    both = (found[:, 2] > 0) & (wanted[:, 2] > 0)
    if not both.any():
        return -1e9
    away = float(np.linalg.norm(found[both, :2].astype(np.float64) - wanted[both, :2], axis=1).mean())
    alike = similarity(found, wanted)
    return (0.0 if np.isnan(alike) else alike) - 1e-4 * away


def _mean_of_known(rows: Floats) -> Floats:
    """(people, 18) -> (18,), NaN where nobody has a value."""
    counts = (~np.isnan(rows)).sum(axis=0)
    return np.where(counts, np.nansum(rows, axis=0) / np.maximum(counts, 1), np.nan)


def _mean_of_points(samples: Floats) -> float:
    """(moments, 18) -> the mean of the points' means over the moments."""
    points = _mean_of_known(samples)
    return float(np.nanmean(points)) if not np.isnan(points).all() else float("nan")
