"""The `keypoints` of old pose editors, brought into the form of `people`."""

from itertools import chain
from typing import Any

from masactrl_video.errors import UserError, counted
from masactrl_video.guidance.pose import BODY_POINTS


def editor_people(keypoints: Any, where: str) -> list[dict[str, list[float]]]:
    """One `{pose_keypoints_2d}` per person.

    keypoints lists points ([x, y], [x, y, c] or null for a missing one), 18 a person, either in one list
    or in one list per person. Raises UserError, which begins with `where`.
    """
    if not isinstance(keypoints, list):
        raise UserError(f"{where}: keypoints: a list of points [x, y] is wanted")
    nested = bool(keypoints) and all(isinstance(item, list) and len(item) == BODY_POINTS for item in keypoints)
    points = [point for person in keypoints for point in person] if nested else keypoints
    if len(points) % BODY_POINTS:
        raise UserError(f"{where}: keypoints: {counted(len(points), 'point')}; allowed: a multiple of {BODY_POINTS}")
    triples = [_triple(point, f"{where}: keypoints[{index}]") for index, point in enumerate(points)]
    starts = range(0, len(points), BODY_POINTS)
    return [{"pose_keypoints_2d": list(chain(*triples[start : start + BODY_POINTS]))} for start in starts]


def _triple(point: Any, where: str) -> list[float]:
    if point is None:
        return [0, 0, 0]
    if not isinstance(point, list) or len(point) not in (2, 3):
        raise UserError(f"{where}: a point [x, y], [x, y, confidence] or null is wanted")
    return point if len(point) == 3 else [*point, 1]
