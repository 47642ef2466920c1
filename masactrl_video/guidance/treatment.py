"""What is done to the poses of a clip before they are drawn: cleaned, repaired, given another body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, any_of, counted
from masactrl_video.guidance.fill import fill_missing
from masactrl_video.guidance.people import choose_person, track_people
from masactrl_video.guidance.pose import Keypoints, Pose
from masactrl_video.guidance.retarget import retarget
from masactrl_video.guidance.smooth import check_window, fill_gaps, smooth_points
from masactrl_video.guidance.tracks import poses_of, tracks_of

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
