"""Peaks joined into people along part affinity fields (OpenPose: Cao et al., arXiv 1812.08008, sections 3.2, 3.3)."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import LIMBS

FloatMap = NDArray[np.float32]

EAR_TO_SHOULDER = ((2, 16), (5, 17))
"""Not drawn; they only tie a head to a body whose neck is hidden."""
FIELD_LIMBS = (*LIMBS, *EAR_TO_SHOULDER)
FIELD_CHANNELS = (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26)
"""First of the two field channels (x, then y) of each of FIELD_LIMBS."""

SAMPLES = 10
SHARE_ABOVE = 0.8


class Connection(NamedTuple):
    """A limb between two peaks, given by their index within their parts."""

    start: int
    end: int
    score: float


PeakOfPart = dict[int, int]
"""A person: the index of the peak chosen for each part that was found."""


def group_people(peaks: Sequence[FloatMap], fields: FloatMap, threshold: float) -> list[PeakOfPart]:
    """People as {part: index of its peak}, each of at least two parts.

    peaks holds for each part float32 (peaks, 3) = x, y, height in cells; fields is float32 (38, rows, columns).
    A limb is accepted when 80 % of its field lies above the threshold in the limb's direction. Limbs are taken
    greedily, best first (section 3.3).
    """
    people: list[PeakOfPart] = []
    for limb, channel in zip(FIELD_LIMBS, FIELD_CHANNELS, strict=True):
        start, end = limb
        scores = _limb_scores(peaks[start], peaks[end], fields[channel : channel + 2], threshold)
        for connection in _best_first(scores):
            _join(people, limb, connection)
    return people


def _limb_scores(starts: FloatMap, ends: FloatMap, field: FloatMap, threshold: float) -> FloatMap:
    """Mean field along each candidate limb (Eq. 11), float32 (starts, ends); 0 where the limb is not accepted."""
    vectors = ends[None, :, :2] - starts[:, None, :2]  # -> (starts, ends, 2)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-6)
    steps = np.linspace(0, 1, SAMPLES, dtype=np.float32)[:, None]
    places = starts[:, None, None, :2] + steps * vectors[:, :, None]  # -> (starts, ends, samples, 2)
    columns, rows = np.moveaxis(np.rint(places).astype(np.intp), -1, 0)
    columns, rows = columns.clip(0, field.shape[2] - 1), rows.clip(0, field.shape[1] - 1)
    along = np.einsum("cabs,abc->abs", field[:, rows, columns], units)  # -> (starts, ends, samples)
    accepted = (along > threshold).mean(axis=2) >= SHARE_ABOVE
    return np.where(accepted, along.mean(axis=2), 0).astype(np.float32)


def _best_first(scores: FloatMap) -> list[Connection]:
    """Connections of one limb, best first, each peak in one at most."""
    chosen: list[Connection] = []
    for flat in np.argsort(-scores, axis=None):
        start, end = divmod(int(flat), scores.shape[1])
        if scores[start, end] <= 0:
            break
        if all(start != other.start and end != other.end for other in chosen):
            chosen.append(Connection(start, end, float(scores[start, end])))
    return chosen


def _join(people: list[PeakOfPart], limb: tuple[int, int], connection: Connection) -> None:
    """Adds a limb to the person that owns one of its ends; joins two persons who own one end each."""
    ends = dict(zip(limb, (connection.start, connection.end), strict=True))
    owners = [person for person in people if any(person.get(part) == peak for part, peak in ends.items())]
    if not owners:
        if limb not in EAR_TO_SHOULDER:
            people.append(ends)
        return
    person, *others = owners
    for other in others:
        if not person.keys() & other.keys():
            person.update(other)
            people.remove(other)
    for part, peak in ends.items():
        if not any(owner.get(part) == peak for owner in owners):
            person.setdefault(part, peak)


NEIGHBOURHOOD = np.ones((5, 5), np.uint8)
"""Two people's same part are at least three cells apart."""


def find_peaks(heat_map: FloatMap, threshold: float) -> FloatMap:
    """Local maxima above the threshold: float32 (peaks, 3) = x, y in cells of the map with fractions, height.

    heat_map is float32 (rows, columns). The fraction is the vertex of a parabola through the maximum and its
    two neighbours, along each axis.
    """
    highest = cv2.dilate(heat_map, NEIGHBOURHOOD)
    rows, columns = np.nonzero((heat_map == highest) & (heat_map > threshold))
    padded = np.pad(heat_map, 1, mode="edge")
    height = heat_map[rows, columns]
    x = columns + _vertex(padded[rows + 1, columns], height, padded[rows + 1, columns + 2])
    y = rows + _vertex(padded[rows, columns + 1], height, padded[rows + 2, columns + 1])
    return np.stack([x, y, height], axis=1).astype(np.float32)  # -> (peaks, 3)


def _vertex(left: FloatMap, middle: FloatMap, right: FloatMap) -> FloatMap:
    """Offset from the middle, within half a cell, of the vertex of a parabola through three equidistant values."""
    curvature = left - 2 * middle + right
    flat = curvature >= 0
    offset = 0.5 * (left - right) / np.where(flat, -1, curvature)
    return np.where(flat, 0, np.clip(offset, -0.5, 0.5)).astype(np.float32)
