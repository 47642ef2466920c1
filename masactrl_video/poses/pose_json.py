"""Pose JSON as the field writes it, in and out.

Read: ControlNet, A1111 and ComfyUI (`people`, `canvas_width`, `canvas_height`; one frame or a list of frames),
CMU OpenPose (a folder with one file per frame, BODY_25, no canvas size; also the keys of its version 1.0), old pose
editors (`width`, `height`, `keypoints`), the lists of `other_layouts`, and each of them as JSON Lines. Written: the
list of frames of ComfyUI.
"""

import json
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, counted
from masactrl_video.poses.other_layouts import frames_of_others
from masactrl_video.poses.pose import BODY_POINTS, FACE_POINTS, HAND_POINTS, Keypoints, Person, Pose
from masactrl_video.storage.replace import replacing
from masactrl_video.storage.staging import staged_folder
from masactrl_video.video.frame_files import frame_files

logger = logging.getLogger(__name__)

POSE_SUFFIXES = (".json", ".jsonl", ".ndjson")

LARGEST_FILE_BYTES = 64 * 1024**2
"""About 20,000 frames of one person with face and hands; a longer clip's poses go into a folder, a file a frame."""
MOST_BRACKETS = 2_000_000
"""Lists and objects in a file: each takes 30 times the memory of its text."""
MOST_PEOPLE = 1000
LARGEST_SIDE_PX = 65535


def read_poses(path: Path, *, size_px: tuple[int, int] | None = None) -> list[Pose]:
    """One pose per frame, from a file or from a folder of files in natural order (2 before 10).

    In a folder a file with an empty list is a frame in which nobody is. size_px (width, height) is the canvas of
    frames that name none, as in CMU OpenPose: the clip's own size.
    Raises UserError, naming file, frame and field, when something cannot be read.
    """
    files = pose_files(path)
    found = [_read_file(file, size_px) for file in files]
    if len(files) > 1:
        canvas = size_px or next(((pose.width_px, pose.height_px) for poses in found for pose in poses), None)
        found = [poses or ([Pose((), *canvas)] if canvas else []) for poses in found]
    poses = [pose for poses in found for pose in poses]
    if not poses:
        raise UserError(f"{path}: an empty list; at least one frame is needed")
    return poses


def pose_files(path: Path) -> list[Path]:
    """The files that read_poses reads, in order. Raises UserError for a folder without any, or in no clear order."""
    files = frame_files(path, POSE_SUFFIXES).files if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: no .json file in this folder; give a pose JSON or a folder with one for each frame")
    return files


def pose_remarks(path: Path) -> tuple[str, ...]:
    """What must be said of a folder's files: left out, missing numbers, names of several kinds."""
    return frame_files(path, POSE_SUFFIXES).remarks if path.is_dir() else ()


def write_poses(path: Path, poses: Sequence[Pose], *, normalised: bool = False) -> None:
    """Writes the list of frames that ComfyUI and ControlNet editors read; a file at `path` is replaced.

    Coordinates are pixels or, normalised, 0 to 1 of the canvas. A found point gets confidence 1, because some readers
    drop every point below that. Raises UserError where a normalised point lies so far outside its canvas that a
    reader would take it for pixels.
    """
    text = pose_text(poses, normalised=normalised)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def pose_text(poses: Sequence[Pose], *, normalised: bool = False) -> str:
    """What write_poses writes."""
    return json.dumps([_frame_json(pose, normalised, f"frame {index}") for index, pose in enumerate(poses)])


def write_pose_folder(folder: Path, poses: Sequence[Pose], *, normalised: bool = False) -> None:
    """Writes a new folder with one file for each frame, 000000_keypoints.json and so on, as OpenPose does.

    Points are as write_poses has them, 18 a body, and every file names its canvas.
    """
    frames = [_frame_json(pose, normalised, f"frame {index}") for index, pose in enumerate(poses)]
    with staged_folder(folder) as made:
        for index, frame in enumerate(frames):
            (made / f"{index:06d}_keypoints.json").write_text(json.dumps(frame), encoding="utf-8")


def poses_from(frames: object, where: str) -> list[Pose]:
    """One pose per frame of a list as ControlNet and ComfyUI write it. Raises UserError, naming frame and field."""
    if not isinstance(frames, (list, tuple)) or not frames:
        raise UserError(f"{where}: a list of frames (POSE_KEYPOINT) with at least one is wanted")
    return [_pose(frame, None, f"{where}: frame {index}") for index, frame in enumerate(frames)]


def _frame_json(pose: Pose, normalised: bool, where: str) -> dict[str, Any]:
    scaled = pose.scaled(width_px=1, height_px=1) if normalised else pose
    reach = max(
        (np.abs(points[:, :2]).max() for person in scaled.people for points in person.parts().values()), default=0
    )
    if normalised and reach > LARGEST_NORMALISED:
        raise UserError(f"{where}: a point lies too far outside its canvas to be written as 0 to 1; write pixels")
    people = [
        {
            "pose_keypoints_2d": _numbers(person.body),
            "face_keypoints_2d": _numbers(person.face),
            "hand_left_keypoints_2d": _numbers(person.left_hand),
            "hand_right_keypoints_2d": _numbers(person.right_hand),
        }
        for person in scaled.people
    ]
    return {"people": people, "canvas_width": pose.width_px, "canvas_height": pose.height_px}


def _numbers(points: Keypoints | None) -> list[float] | None:
    if points is None:
        return None
    # str() of a float32 is its shortest exact form: 0.1 rather than 0.10000000149011612
    return [number for x, y, c in points for number in (float(str(x)), float(str(y)), float(c > 0))]


def _read_file(file: Path, size_px: tuple[int, int] | None) -> list[Pose]:
    content = _load_json(file)
    content = frames_of_others(content, str(file)) or content
    if isinstance(content, list):
        return [_pose(frame, size_px, f"{file}: frame {index}") for index, frame in enumerate(content)]
    return [_pose(content, size_px, f"{file}: frame 0")]


def _load_json(file: Path) -> Any:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give a pose JSON or a folder with one for each frame")
    if (size_bytes := file.stat().st_size) > LARGEST_FILE_BYTES:
        raise UserError(
            f"{file}: {size_bytes} bytes; pose JSON is read up to {LARGEST_FILE_BYTES}: give a folder, a file a frame"
        )
    if not size_bytes:
        raise UserError(f"{file} is empty: it holds no pose; get it anew")
    data = file.read_bytes()
    if (brackets := data.count(b"[") + data.count(b"{")) > MOST_BRACKETS:
        raise UserError(f"{file}: {brackets} lists and objects; pose JSON is read up to {MOST_BRACKETS}")
    try:
        return _parse(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise UserError(f"{file}: not valid JSON: {error}") from error


def _parse(text: str) -> Any:
    """One value, or a list of those on each line (JSON Lines)."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    content = []
    for number, line in lines:
        try:
            content.append(json.loads(line, parse_constant=_refuse_constant))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _pose(frame: Any, size_px: tuple[int, int] | None, where: str) -> Pose:
    if not isinstance(frame, dict) or not ({"people", "keypoints"} & frame.keys()):
        keys = f"; its keys are {', '.join(frame):.80}" if isinstance(frame, dict) and frame else ""
        raise UserError(
            f"{where}: an object with `people` (ControlNet, OpenPose) or `keypoints` (old editors) is wanted, or a "
            f"list in COCO's or MMPose's form{keys}"
        )
    canvas = _canvas(frame, size_px, where)
    if frame.get("animals"):
        logger.warning("%s: `animals` is ignored, only people are drawn", where)
    people = frame["people"] if "people" in frame else editor_people(frame["keypoints"], where)
    if not isinstance(people, list) or len(people) > MOST_PEOPLE:
        raise UserError(f"{where}: people: a list of at most {MOST_PEOPLE} is wanted")
    persons = (_person(person, canvas, f"{where}: people[{index}]") for index, person in enumerate(people))
    return Pose(tuple(persons), *canvas)


def _canvas(frame: dict[str, Any], size_px: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """Width and height, from the frame where it names them."""
    names = ("canvas_width", "canvas_height") if "people" in frame else ("width", "height")
    sides: list[Any] = [frame.get(name) for name in names]
    if sides == [None, None]:
        if size_px is None:
            raise UserError(
                f"{where}: names no {names[0]} and {names[1]}; give the size of the clip it belongs to "
                "(--pose-canvas WIDTHxHEIGHT)"
            )
        return size_px
    for name, side in zip(names, sides, strict=True):
        if type(side) not in (int, float) or not 1 <= side <= LARGEST_SIDE_PX or side != int(side):
            raise UserError(f"{where}: {name}: got {side!r:.40}; allowed: whole pixels from 1 to {LARGEST_SIDE_PX}")
    return int(sides[0]), int(sides[1])


_PARTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")


def _person(person: Any, size_px: tuple[int, int], where: str) -> Person:
    if not isinstance(person, dict):
        raise UserError(f"{where}: an object with pose_keypoints_2d is wanted")
    numbers_of = {name: person.get(name) or person.get(name.removesuffix("_2d")) for name in _PARTS}
    known = {*_PARTS, *(name.removesuffix("_2d") for name in _PARTS)}  # those without _2d are of OpenPose 1.0
    if person and known.isdisjoint(person):
        raise UserError(f"{where}: none of {', '.join(_PARTS)} is there; its keys are {', '.join(person):.80}")
    if person.get("pose_keypoints_3d") and not numbers_of["pose_keypoints_2d"]:
        raise UserError(f"{where}: only points in space (pose_keypoints_3d), which are not read; give 2D points")

    def part(name: str, allowed: tuple[int, ...]) -> Keypoints | None:
        numbers = numbers_of[name]
        if not numbers:
            return None
        return keypoints_px(numbers, allowed=allowed, size_px=size_px, where=f"{where}.{name}")

    body = numbers_of["pose_keypoints_2d"] or [0] * (3 * BODY_POINTS)
    return Person(
        body=body_px(body, size_px=size_px, where=f"{where}.pose_keypoints_2d"),
        face=part("face_keypoints_2d", FACE_POINTS),
        left_hand=part("hand_left_keypoints_2d", (HAND_POINTS,)),
        right_hand=part("hand_right_keypoints_2d", (HAND_POINTS,)),
    )


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


COCO_FROM_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""BODY_25 index of each of the 18 points: its point 8, the middle of the hips, and its feet have no place there."""

LARGEST_NORMALISED = 2.0
"""Coordinates from 0 to 1 run slightly over where a point lies outside the picture; in pixels a whole body, hand or
face within the first two pixels does not occur."""

LARGEST_COORDINATE_PX = 1e6


def keypoints_px(numbers: object, *, allowed: tuple[int, ...], size_px: tuple[int, int], where: str) -> Keypoints:
    """Keypoints float32 (points, 3) from a flat list x, y, c, x, y, c, … with one of the allowed numbers of points.

    Whether the coordinates are pixels or 0 to 1 of size_px (width, height) is decided for the array as a whole.
    A point with c <= 0, at (0, 0) or at (-1, -1), or with a coordinate of -1 pixel, is missing.
    Raises UserError, which begins with `where`.
    """
    flat = _finite_floats(numbers, where)
    if flat.size not in [3 * count for count in allowed]:
        counts = " or ".join(f"3 x {count}" for count in allowed)
        raise UserError(f"{where}: {counted(flat.size, 'number')}; allowed: {counts} (x, y, confidence of each point)")
    points = flat.reshape(-1, 3)  # -> (points, 3)
    points[_is_missing(points)] = 0
    if np.abs(points[:, :2]).max() <= LARGEST_NORMALISED:
        points[:, :2] *= size_px
    # controlnet_aux marks a missing hand or face coordinate by -1 pixel, and divides it by the size with the others
    points[np.isclose(points[:, :2], -1, rtol=0, atol=1e-3).any(axis=1)] = 0
    if np.abs(points[:, :2]).max() > LARGEST_COORDINATE_PX:
        raise UserError(f"{where}: a coordinate of {np.abs(points[:, :2]).max():g} pixels; allowed: up to 1000000")
    return points.astype(np.float32)


def body_px(numbers: object, *, size_px: tuple[int, int], where: str) -> Keypoints:
    """A body float32 (18, 3) from 18 points or from the 25 of BODY_25. Raises UserError as keypoints_px does."""
    points = keypoints_px(numbers, allowed=(BODY_POINTS, 25), size_px=size_px, where=where)
    return points if len(points) == BODY_POINTS else points[list(COCO_FROM_BODY_25)]


def _finite_floats(numbers: object, where: str) -> NDArray[np.float64]:
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise UserError(f"{where}: a flat list of numbers x, y, confidence is wanted")
    try:
        points = np.array(numbers, np.float64)
    except OverflowError:  # an integer of hundreds of digits
        points = np.array([np.inf])
    if not np.isfinite(points).all():
        raise UserError(f"{where}: contains NaN or an infinite number; only finite numbers are allowed")
    return points


def _is_missing(
    points: NDArray[np.float64],
) -> NDArray[np.bool_]:
    x, y, confidence = points.T
    missing: NDArray[np.bool_] = ((x == 0) & (y == 0)) | ((x == -1) & (y == -1)) | (confidence <= 0)
    return missing
