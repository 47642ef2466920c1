"""What is done to the poses of a clip before they are drawn: cleaned, repaired, given another body."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from masactrl_video.errors import UserError, any_of, counted
from masactrl_video.poses.pose import Keypoints, Person, Pose
from masactrl_video.poses.retarget import retarget
from masactrl_video.poses.tracking import choose_person, poses_of, track_people, tracks_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PoseTreatment:
    """Changes to the poses of a whole clip, in the order of the fields; by default none."""

    min_confidence: float = 0.0
    """keypoints below it count as missing, 0 to 1"""
    person: str | None = None
    """only this person: "0", "1", … or "largest", see people.choose_person"""
    fill_missing: bool = False
    """frames without anybody take the pose of the frames around, see fill.fill_missing"""
    longest_gap_frames: int = 0
    """keypoints that are missing for at most so many frames are interpolated"""
    smooth_window_frames: int | None = None
    """window of the smoothing filter, odd, see smooth.smooth_points"""
    target_lengths_px: Floats | None = None
    """bone lengths of another body, (17,), in px of the poses' canvas"""
    keep_foreshortening: bool = False
    """see retarget"""

    def __post_init__(self) -> None:
        """Raises UserError for values out of range."""
        if not 0 <= self.min_confidence <= 1:
            raise UserError(f"pose confidence: got {self.min_confidence}; allowed: 0 to 1")
        if self.longest_gap_frames < 0:
            raise UserError(f"pose gaps: got {counted(self.longest_gap_frames, 'frame')}; allowed: 0 and more")
        if self.smooth_window_frames is not None:
            check_window(self.smooth_window_frames)

    @property
    def needs_whole_clip(self) -> bool:
        """Whether a frame's pose depends on other frames."""
        return self.fill_missing or self.person is not None or self._works_on_tracks

    @property
    def _works_on_tracks(self) -> bool:
        return bool(
            self.longest_gap_frames or self.smooth_window_frames is not None or self.target_lengths_px is not None
        )

    def frame(self, pose: Pose) -> Pose:
        """What can be done to a frame by itself."""
        return without_doubtful(pose, self.min_confidence) if self.min_confidence else pose

    def __call__(self, poses: Sequence[Pose]) -> list[Pose]:
        """One pose for each, on the same canvases. Raises UserError where there is nobody to work on."""
        return self.repaired(self.chosen(poses))

    def chosen(self, poses: Sequence[Pose]) -> list[Pose]:
        """What of the poses is used: keypoints that are certain enough, of the person that is wanted."""
        sure = [self.frame(pose) for pose in poses]
        return sure if self.person is None else choose_person(track_people(sure), self.person)

    def repaired(self, chosen: Sequence[Pose]) -> list[Pose]:
        """The rest of the treatment, of what `chosen` gave."""
        filled = fill_missing(chosen) if self.fill_missing else list(chosen)
        return self._on_tracks(filled) if self._works_on_tracks else filled

    def _on_tracks(self, poses: Sequence[Pose]) -> list[Pose]:
        tracks = tracks_of(track_people(poses))
        if self.longest_gap_frames:
            tracks = [track.map(lambda points: fill_gaps(points, self.longest_gap_frames)) for track in tracks]
        if self.smooth_window_frames is not None:
            window = self.smooth_window_frames
            tracks = [track.map(lambda points: smooth_points(points, window)) for track in tracks]
        if self.target_lengths_px is not None and not tracks:
            raise UserError(f"retarget: nobody is in {any_of(len(poses), 'frame')}; give poses with a person")
        if self.target_lengths_px is not None:
            lengths = self.target_lengths_px
            tracks = [retarget(track, lengths, keep_foreshortening=self.keep_foreshortening) for track in tracks]
        return poses_of(tracks, poses)


def without_doubtful(pose: Pose, min_confidence: float) -> Pose:
    """The pose with all keypoints below a confidence missing."""

    def sure(points: Keypoints) -> Keypoints:
        return np.where(points[:, 2:] >= min_confidence, points, 0).astype(np.float32)

    people = (replace(person, **{name: sure(p) for name, p in person.parts().items()}) for person in pose.people)
    return replace(pose, people=tuple(people))


def missing_frames(poses: Sequence[Pose]) -> list[int]:
    """Indices of the frames without a person."""
    return [index for index, pose in enumerate(poses) if not pose.has_person]


def fill_missing(poses: Sequence[Pose]) -> list[Pose]:
    """The same poses, with one person in each frame that had nobody; frames with a person are left as they are.

    Each keypoint of the first person is interpolated linearly between the nearest frames with a person before and
    after the gap; where only one of the two has it, the nearer frame decides. At the ends the nearest person is taken.
    Raises UserError when no frame has a person.
    """
    known = [index for index, pose in enumerate(poses) if pose.has_person]
    if not known:
        raise UserError(f"no person in {any_of(len(poses), 'frame')}: missing poses cannot be filled from neighbours")
    return [pose if pose.has_person else _filled(poses, index, known) for index, pose in enumerate(poses)]


def _filled(poses: Sequence[Pose], index: int, known: list[int]) -> Pose:
    place = bisect(known, index)
    before, after = known[max(place - 1, 0)], known[min(place, len(known) - 1)]
    weight = (index - before) / (after - before) if before != after else 0.0
    person = _between(_first_visible(poses[before]), _first_visible(poses[after]), weight)
    return Pose((person,), poses[index].width_px, poses[index].height_px)


def _first_visible(pose: Pose) -> Person:
    return next(person for person in pose.people if person.visible)


def _between(before: Person, after: Person, weight: float) -> Person:
    """weight 0 is the person before, 1 the person after."""
    nearer = before if weight <= 0.5 else after
    parts = nearer.parts()
    for name in before.parts().keys() & after.parts().keys():
        first, last = before.parts()[name], after.parts()[name]
        if len(first) == len(last):  # a face may have 68 points in one frame and 70 in the next
            parts[name] = _between_points(first, last, parts[name], weight)
    return Person(**parts)


def _between_points(first: Keypoints, last: Keypoints, nearer: Keypoints, weight: float) -> Keypoints:
    in_both = (first[:, 2] > 0) & (last[:, 2] > 0)
    mixed = (1 - weight) * first + weight * last
    return np.where(in_both[:, None], mixed, nearer).astype(np.float32)


POLYNOMIAL_ORDER = 2
SHORTEST_WINDOW_FRAMES = POLYNOMIAL_ORDER + 3
"""A shorter window would leave all as it is: its parabola goes through every frame."""


def fill_gaps(points: Floats, longest_frames: int) -> Floats:
    """(frames, points, 3) with keypoints that are missing for at most `longest_frames` interpolated linearly.

    Position and confidence are interpolated between the frames before and after the gap. A gap at the beginning or the
    end has one side only and stays, and so does a longer one.
    """
    filled = points.copy()
    for index in range(points.shape[1]):
        seen = np.flatnonzero(points[:, index, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= longest_frames + 1:
                weight = np.linspace(0, 1, after - before + 1)[1:-1, None]
                filled[before + 1 : after, index] = (1 - weight) * points[before, index] + weight * points[after, index]
    return filled


def smooth_points(points: Floats, window_frames: int) -> Floats:
    """(frames, points, 3) with positions smoothed by a Savitzky-Golay filter: parabolas fitted to a sliding window.

    The window is symmetric, so nothing is delayed. Every stretch without a gap is smoothed for itself: missing points
    stay missing and pull at nothing. A stretch that is shorter than the window gets the longest odd window that fits,
    and stays as it is below SHORTEST_WINDOW_FRAMES. Raises UserError for a window that is even or too short.
    """
    check_window(window_frames)
    smoothed = points.copy()
    for index in range(points.shape[1]):
        for stretch in _stretches(points[:, index, 2] > 0):
            length = stretch.stop - stretch.start
            window = min(window_frames, length - 1 + length % 2)
            if window >= SHORTEST_WINDOW_FRAMES:
                smoothed[stretch, index, :2] = _by_parabolas(points[stretch, index, :2], window)
    return smoothed


def _by_parabolas(values: Floats, window: int) -> Floats:
    """(frames, axes), at least `window` frames: each becomes the value there of the parabola fitted around it.

    At both ends it is the parabola of the first and the last window. It is what `scipy.signal.savgol_filter` gives;
    to import that takes longer than everything else that is done with a short clip's poses.
    """
    half = window // 2
    powers = np.vander(np.arange(-half, half + 1) / half, POLYNOMIAL_ORDER + 1)
    fitted = powers @ np.linalg.pinv(powers)  # a window's values → its parabola's
    middle = sliding_window_view(values, window, axis=0) @ fitted[half]
    return np.concatenate([fitted[:half] @ values[:window], middle, fitted[half + 1 :] @ values[-window:]])


def check_window(window_frames: int) -> None:
    """Raises UserError unless the window is odd and long enough to smooth at all."""
    if window_frames < SHORTEST_WINDOW_FRAMES or window_frames % 2 == 0:
        raise UserError(
            f"smoothing window: got {counted(window_frames, 'frame')}; allowed: odd numbers from "
            f"{SHORTEST_WINDOW_FRAMES}"
        )


def _stretches(seen: NDArray[np.bool_]) -> list[slice]:
    """Runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
