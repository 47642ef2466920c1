"""A pose: the people of one frame as keypoints in pixels, in the 18-point order of COCO as OpenPose extends it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Keypoints = NDArray[np.float32]

BODY_NAMES = (
    "nose", "neck",
    "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of body points that are joined by a line, in the order of their ControlNet colours."""

FINGERS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
"""Pairs of hand points that are joined by a line: wrist to tip, thumb to little finger."""

BODY_POINTS, HAND_POINTS, FACE_POINTS = len(BODY_NAMES), 21, (68, 70)


@dataclass(frozen=True, eq=False)
class Person:
    """One person. Each array is float32 (points, 3): x_px, y_px, confidence; a missing point has confidence 0."""

    body: Keypoints
    """(18, 3), in the order of BODY_NAMES"""
    face: Keypoints | None = None
    """(70, 3), or (68, 3) without the pupils"""
    left_hand: Keypoints | None = None
    """(21, 3)"""
    right_hand: Keypoints | None = None
    """(21, 3)"""

    def __post_init__(self) -> None:
        """Raises ValueError when an array has another shape or type."""
        allowed = {
            "body": (BODY_POINTS,),
            "face": FACE_POINTS,
            "left_hand": (HAND_POINTS,),
            "right_hand": (HAND_POINTS,),
        }
        for name, points in self.parts().items():
            if points.dtype != np.float32 or points.shape not in [(count, 3) for count in allowed[name]]:
                raise ValueError(f"{name}: float32 ({allowed[name]}, 3) wanted, got {points.dtype} {points.shape}")

    def parts(self) -> dict[str, Keypoints]:
        """The arrays that are there, by field name."""
        named = {"body": self.body, "face": self.face, "left_hand": self.left_hand, "right_hand": self.right_hand}
        return {name: points for name, points in named.items() if points is not None}

    @property
    def visible(self) -> bool:
        """Whether any point was found."""
        return any((points[:, 2] > 0).any() for points in self.parts().values())


@dataclass(frozen=True, eq=False)
class Pose:
    """The people of one frame; pixel coordinates on a canvas of width_px x height_px."""

    people: tuple[Person, ...]
    width_px: int
    height_px: int

    @property
    def has_person(self) -> bool:
        """Whether any person has a visible point."""
        return any(person.visible for person in self.people)

    def transform(
        self, map_points: Callable[[NDArray[np.float64]], NDArray[np.float64]], *, width_px: int, height_px: int
    ) -> "Pose":
        """The same people on another canvas.

        map_points takes and returns x, y in pixels, float (points, 2). Points may land outside the new canvas;
        missing points stay missing, at (0, 0).
        """

        def mapped(points: Keypoints) -> Keypoints:
            moved = np.zeros_like(points)
            seen = points[:, 2] > 0
            moved[seen, :2] = map_points(points[seen, :2].astype(np.float64))
            moved[seen, 2] = points[seen, 2]
            return moved

        people = (replace(person, **{name: mapped(p) for name, p in person.parts().items()}) for person in self.people)
        return Pose(tuple(people), width_px, height_px)

    def on_canvas(self) -> "Pose":
        """The pose without the people of whom no point lies on the canvas."""

        def inside(person: Person) -> bool:
            points = np.concatenate(list(person.parts().values()))
            x, y, confidence = points.T
            return bool(((confidence > 0) & (x > -1) & (x < self.width_px) & (y > -1) & (y < self.height_px)).any())

        return replace(self, people=tuple(person for person in self.people if inside(person)))

    def scaled(self, *, width_px: int, height_px: int) -> "Pose":
        """The pose on a canvas of another size, x and y scaled each by its own factor."""
        factors = np.array([width_px / self.width_px, height_px / self.height_px])
        return self.transform(lambda xy: xy * factors, width_px=width_px, height_px=height_px)
