"""The ways to come by a guidance picture for each frame of a clip."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.detectors.base import PoseDetector, nobody_found
from masactrl_video.poses.draw import draw_pose
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.repair import PoseTreatment

Image = NDArray[np.uint8]
"""RGB uint8 (height, width, 3)"""

Given = TypeVar("Given")


BLACK = 32
"""Below it a pixel counts as black; lossy videos are not black to the bit."""


@dataclass(frozen=True, eq=False)
class GuidanceFrame:
    """The guidance of one frame."""

    image: Image
    pose: Pose | None = None
    """what was drawn, where it was a pose"""
    person_missing: bool = False
    """nobody was found in this frame; its pose is empty, or filled from its neighbours"""

    @property
    def shows_anything(self) -> bool:
        """Whether the picture is not black, as far as a lossy video can be."""
        return bool(self.image.max() >= BLACK)


class FrameGuidance(Protocol):
    """Makes the guidance of a clip from its frames, one for each: of their size, but for poses that are detected."""

    @property
    def kind(self) -> str:
        """One word for the index and the progress bar: canny, pose or given."""

    @property
    def when_empty(self) -> str:
        """What is said where nothing is to be seen in any picture of the clip; poses raise UserError instead."""

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        """One guidance frame for each frame, in order; as lazily as the kind allows."""


@dataclass(frozen=True)
class CannyGuidance:
    """Edges of each frame. Raises UserError for thresholds that are not 0 <= low <= high."""

    low_threshold: float = 100
    high_threshold: float = 200
    kind: str = field(default="canny", init=False)
    when_empty: str = field(
        default="no edge is found in any frame, so that the guidance is black: lower --canny-low-threshold and "
        "--canny-high-threshold",
        init=False,
    )

    def __post_init__(self) -> None:
        check_thresholds(self.low_threshold, self.high_threshold)

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        return (GuidanceFrame(canny_edges(frame, self.low_threshold, self.high_threshold)) for frame in frames)


@dataclass(frozen=True, eq=False)
class DetectedPoses:
    """The poses that a detector finds in each frame of any size, put on the canvas that is drawn.

    Where the treatment needs the whole clip, all frames are searched before the first is drawn; only poses are kept
    meanwhile.
    """

    detector: PoseDetector
    treatment: PoseTreatment = field(default_factory=PoseTreatment)
    placed: Callable[[Pose], Pose] = lambda pose: pose
    """from the pixels of a frame as it is searched to those of the picture that is drawn"""
    kind: str = field(default="pose", init=False)
    when_empty: str = field(default="", init=False)

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        """Raises UserError, when all frames have been searched, where nobody is in any."""
        poses = (self.placed(self.detector(frame)).on_canvas() for frame in frames)
        return _drawn(poses, self.treatment, lambda count: nobody_found(self.detector, count, "--guidance canny"))


@dataclass(frozen=True, eq=False)
class GivenPoses:
    """Poses that are there already, one for each frame, on canvases of the frames' size (see Pose.transform)."""

    poses: Sequence[Pose]
    treatment: PoseTreatment = field(default_factory=PoseTreatment)
    name: str = "the poses"
    """what they are called in messages"""
    kind: str = field(default="pose", init=False)
    when_empty: str = field(default="", init=False)

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        """Raises UserError when a canvas has another size than its frame, when the counts differ, or where nobody is
        in any frame."""
        return _drawn(
            self._checked(frames),
            self.treatment,
            lambda count: UserError(f"{self.name}: nobody is in any of the {count} frames that are taken"),
        )

    def _checked(self, frames: Iterable[Image]) -> Iterator[Pose]:
        for index, (frame, pose) in enumerate(_paired(frames, self.poses, "poses")):
            _require_same_size(index, frame, (pose.width_px, pose.height_px))
            yield pose


@dataclass(frozen=True, eq=False)
class GivenFrames:
    """Guidance pictures that are there already, one for each frame, of the frames' size; read once."""

    pictures: Iterable[Image]
    when_empty: str = "all pictures are black"
    kind: str = field(default="given", init=False)

    def __call__(self, frames: Iterable[Image]) -> Iterator[GuidanceFrame]:
        """Raises UserError when a picture has another size than its frame, or when the counts differ."""
        for index, (frame, picture) in enumerate(_paired(frames, self.pictures, "guidance pictures")):
            _require_same_size(index, frame, (picture.shape[1], picture.shape[0]))
            yield GuidanceFrame(picture)


def _drawn(
    poses: Iterable[Pose], treatment: PoseTreatment, nobody: Callable[[int], UserError]
) -> Iterator[GuidanceFrame]:
    """Raises UserError at the end where nobody is to be seen: `nobody` of the number of frames if none was found."""
    count = found = seen = 0
    for pose, frame in _treated(poses, treatment, nobody):
        count, found, seen = count + 1, found + pose.has_person, seen + frame.shows_anything
        yield frame
    if count and not found:
        raise nobody(count)
    if count and not seen:
        raise UserError(
            f"people are found in {found} of {count} frames, but nothing of them lies in the picture with a confidence "
            f"of {treatment.min_confidence:g}; lower --pose-confidence, or take another --fit"
        )


def _treated(
    poses: Iterable[Pose], treatment: PoseTreatment, nobody: Callable[[int], UserError]
) -> Iterator[tuple[Pose, GuidanceFrame]]:
    """What was found, and what is made of it."""
    if not treatment.needs_whole_clip:
        for pose in poses:
            sure = treatment.frame(pose)
            yield pose, GuidanceFrame(draw_pose(sure), sure, person_missing=not sure.has_person)
        return
    found = list(poses)
    if found and not any(pose.has_person for pose in found):
        raise nobody(len(found))
    chosen = treatment.chosen(found)
    for before, kept, after in zip(found, chosen, treatment.repaired(chosen), strict=True):
        yield before, GuidanceFrame(draw_pose(after), after, person_missing=not kept.has_person)


def _paired(frames: Iterable[Image], given: Iterable[Given], what: str) -> Iterator[tuple[Image, Given]]:
    """Frames with what was given for them. Raises UserError with both counts when they differ."""
    frame_iterator, given_iterator, count = iter(frames), iter(given), 0
    for frame in frame_iterator:
        item = next(given_iterator, None)
        if item is None:
            frame_count = count + 1 + sum(1 for _ in frame_iterator)
            raise UserError(f"{count} {what} for {frame_count} frames; one for each frame is needed: cut the clip")
        yield frame, item
        count += 1
    if rest := sum(1 for _ in given_iterator):
        raise UserError(f"{count + rest} {what} for {count} frames; one for each frame is needed: cut the {what}")


def _require_same_size(index: int, frame: Image, given_px: tuple[int, int]) -> None:
    wanted_px = frame.shape[1], frame.shape[0]
    if given_px != wanted_px:
        raise UserError(
            f"frame {index}: its guidance is {given_px[0]}x{given_px[1]}, the frame {wanted_px[0]}x{wanted_px[1]};"
            " fit both in the same way"
        )


def check_thresholds(low_threshold: float, high_threshold: float) -> None:
    """Raises UserError unless 0 <= low <= high: OpenCV would swap them in silence."""
    if not (0 <= low_threshold <= high_threshold < math.inf):
        raise UserError(
            f"canny thresholds: low {low_threshold}, high {high_threshold}; allowed: 0 <= low <= high (usual: 100, 200)"
        )


def canny_edges(image: NDArray[np.uint8], low_threshold: float, high_threshold: float) -> NDArray[np.uint8]:
    """White edges on black, RGB uint8 (height, width, 3), of an RGB uint8 image of that shape.

    The thresholds are those of cv2.Canny: gradients above the high one start an edge, above the low one continue it.
    Raises UserError when they are not 0 <= low <= high.
    """
    check_thresholds(low_threshold, high_threshold)
    import cv2  # thresholds are checked without it

    edges = cv2.Canny(image, low_threshold, high_threshold)  # (height, width)
    return np.repeat(edges[:, :, None], 3, axis=2)
