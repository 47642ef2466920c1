"""Poses drawn as ControlNet was trained to read them: coloured limbs and points on black.

Shapes and colours are those of controlnet_aux.open_pose.util (draw_bodypose, draw_handpose, draw_facepose).
Those draw at a short side of 512 px with fixed widths, and the picture is resized afterwards; here the widths
grow with the short side instead, in whole pixels: 4 px at 512, 6 at 768, 8 at 1024, never below 1.
"""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from masactrl_video.poses.pose import FINGERS, LIMBS, Keypoints, Person, Pose

Canvas = NDArray[np.uint8]
Color = tuple[float, float, float]

BODY_COLORS: tuple[Color, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of each body point; limb i has colour i at 60 %."""
LIMB_BRIGHTNESS = 0.6
HAND_POINT_COLOR: Color = (0, 0, 255)
FACE_POINT_COLOR: Color = (255, 255, 255)

TRAINED_SHORT_SIDE_PX = 512


def draw_pose(pose: Pose) -> Canvas:
    """All people of a pose: RGB uint8 (height_px, width_px, 3) on black."""
    canvas: Canvas = np.zeros((pose.height_px, pose.width_px, 3), np.uint8)
    for person in pose.people:
        _draw_person(canvas, person)
    return canvas


def _draw_person(canvas: Canvas, person: Person) -> None:
    _draw_body(canvas, person.body)
    for hand in (person.left_hand, person.right_hand):
        if hand is not None:
            _draw_hand(canvas, hand)
    if person.face is not None:
        _draw_points(canvas, person.face, [FACE_POINT_COLOR] * len(person.face), radius_px=_scaled(canvas, 3))


def _draw_body(canvas: Canvas, body: Keypoints) -> None:
    width_px = _scaled(canvas, 4)
    for (start, end), color in zip(LIMBS, BODY_COLORS, strict=False):
        if body[start, 2] > 0 and body[end, 2] > 0:
            _draw_limb(canvas, body[start], body[end], color, width_px)
    _draw_points(canvas, body, BODY_COLORS, radius_px=width_px)


def _draw_limb(canvas: Canvas, start: Keypoints, end: Keypoints, color: Color, width_px: int) -> None:
    """An ellipse from start to end; whole pixels and degrees are cut off, not rounded, as in controlnet_aux."""
    import cv2  # poses are read and written without it

    (x0, y0), (x1, y1) = start[:2].tolist(), end[:2].tolist()
    middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
    axes = int(math.hypot(x0 - x1, y0 - y1) / 2), width_px
    angle_degrees = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
    polygon = cv2.ellipse2Poly(middle, axes, angle_degrees, 0, 360, 1)
    cv2.fillConvexPoly(canvas, polygon, [int(LIMB_BRIGHTNESS * part) for part in color])


def _draw_hand(canvas: Canvas, hand: Keypoints) -> None:
    import cv2

    for index, (start, end) in enumerate(FINGERS):
        if hand[start, 2] > 0 and hand[end, 2] > 0:
            color = [255 * part for part in colorsys.hsv_to_rgb(index / len(FINGERS), 1, 1)]
            cv2.line(canvas, _pixel(hand[start]), _pixel(hand[end]), color, thickness=_scaled(canvas, 2))
    _draw_points(canvas, hand, [HAND_POINT_COLOR] * len(hand), radius_px=_scaled(canvas, 4))


def _draw_points(
    canvas: Canvas, points: Keypoints, colors: "list[Color] | tuple[Color, ...]", *, radius_px: int
) -> None:
    import cv2

    for point, color in zip(points, colors, strict=True):
        if point[2] > 0:
            cv2.circle(canvas, _pixel(point), radius_px, color, thickness=-1)


def _pixel(point: Keypoints) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _scaled(canvas: Canvas, width_px: int) -> int:
    short_side_px: int = min(canvas.shape[:2])
    return max(1, round(width_px * short_side_px / TRAINED_SHORT_SIDE_PX))
