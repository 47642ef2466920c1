"""Lists of other tools, brought into frames with `people`: COCO (results and annotations) and MMPose.

A body has COCO's 17 points or the 133 of COCO-WholeBody (DWPose, RTMW); the neck is the middle of the shoulders.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from masactrl_video.errors import UserError
from masactrl_video.video.frame_files import natural_order, number_names

logger = logging.getLogger(__name__)

Frame = dict[str, Any]

_NECK = -1
_COCO_18_FROM_17 = (0, _NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6
_WHOLE_BODY = {
    "face_keypoints_2d": slice(23, 91),
    "hand_left_keypoints_2d": slice(91, 112),
    "hand_right_keypoints_2d": slice(112, 133),
}
_COCO_PARTS = {
    "face_kpts": "face_keypoints_2d",
    "lefthand_kpts": "hand_left_keypoints_2d",
    "righthand_kpts": "hand_right_keypoints_2d",
}
_OTHER_BODIES = {14: "CrowdPose", 15: "MPI", 16: "MPII", 18: "OpenPose", 20: "Halpe", 25: "BODY_25", 26: "Halpe"} | {
    33: "MediaPipe",
    136: "Halpe",
    308: "Sapiens",
}
_MOST_FRAMES_BY_NUMBER = 10
"""Frame numbers reach at most over this many frames for each that is listed; beyond, they are names of pictures."""


def frames_of_others(content: Any, where: str) -> list[Frame] | None:
    """Frames `{people, canvas_width, canvas_height}`, the canvas only where it is known; None where `content` is none
    of these lists.

    Raises UserError, which begins with `where`, for lists that cannot be read, and names formats that are not.
    """
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _annotated(content, where)
    if isinstance(content, dict) and isinstance(content.get("instance_info"), list):
        return _numbered(content["instance_info"], where)
    if isinstance(content, dict) and isinstance(content.get("instances"), list):
        return [_frame(content["instances"], where)]
    if isinstance(content, dict) and isinstance(content.get("predictions"), list):
        content = content["predictions"]
        first = content[0] if content else None
    if isinstance(content, list) and isinstance(first, list):
        return [_frame(instances, f"{where}: frame {index}") for index, instances in enumerate(content)]
    if isinstance(content, list) and isinstance(first, dict):
        if "image_id" in first:
            return _results(content, where)
        if "instances" in first and "frame_id" in first:
            return _numbered(content, where)
        if "keypoint_scores" in first:
            return [_frame(content, where)]
    if name := _unread(content, first):
        raise UserError(
            f"{where}: this is {name}, which is not read; give OpenPose or ControlNet JSON (`people`), or a list in "
            "COCO's or MMPose's form"
        )
    return None


def _unread(content: Any, first: Any) -> str:
    """The name of a format that is known by its keys and not read."""
    if not isinstance(first, dict):
        return ""
    if {"landmarks", "pose_landmarks", "poseLandmarks", "worldLandmarks"} & first.keys() or (
        {"x", "y", "visibility"} <= first.keys()
    ):
        return "MediaPipe's list of landmarks"
    if isinstance(first.get("keypoints"), dict) and "box" in first:
        return "Ultralytics' (YOLO) list of results"
    inner = next(iter(content.values()), None) if isinstance(content, dict) else None
    if isinstance(inner, dict) and {"bodies", "people"} & inner.keys():
        return "AlphaPose's list by names of pictures (its formats cmu and open; its default is read)"
    return ""


def _annotated(content: Frame, where: str) -> list[Frame]:
    """A COCO annotations file: its images in the natural order of their names, whether anybody is in them or not."""
    images = content.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) and "id" in image for image in images):
        raise UserError(f"{where}: annotations without a list `images` with an id each; their frames are not known")
    people: dict[Any, list[Any]] = {str(image["id"]): [] for image in images}
    for index, entry in enumerate(content["annotations"]):
        if not isinstance(entry, dict) or str(entry.get("image_id")) not in people:
            raise UserError(f"{where}: annotations[{index}]: an image_id that is among `images` is wanted")
        if entry.get("keypoints"):
            people[str(entry["image_id"])].append(_person(entry, f"{where}: annotations[{index}]"))
    if not any(people.values()):
        raise UserError(f"{where}: none of the {len(content['annotations'])} annotations has keypoints")
    order = natural_order([_stem(image.get("file_name", image["id"])) for image in images])
    return [{"people": people[str(images[n]["id"])]} | _canvas(images[n]) for n in order]


def _canvas(image: Frame) -> Frame:
    if not {"width", "height"} <= image.keys():
        return {}
    return {"canvas_width": image["width"], "canvas_height": image["height"]}


def _results(entries: list[Any], where: str) -> list[Frame]:
    """COCO results, a person an entry, as Detectron, MMPose, ViTPose and AlphaPose write them."""
    people: dict[str, list[Any]] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("image_id")) not in (int, str):
            raise UserError(f"{where}: entry {index}: an object with image_id and keypoints is wanted")
        people.setdefault(str(entry["image_id"]), []).append(_person(entry, f"{where}: entry {index}"))
    names = list(people)
    stems = [_stem(name) for name in names]
    ordered = [names[n] for n in natural_order(stems)]
    numbers = number_names(stems)
    if numbers is None:
        return [{"people": people[name]} for name in ordered]
    return _with_gaps(dict(zip(sorted(numbers), [people[name] for name in ordered], strict=True)), where, "image_id")


def _numbered(entries: list[Any], where: str) -> list[Frame]:
    """MMPose's list of a video: `{frame_id, instances}`, or one after the other where they have no number."""
    found: dict[int, list[Any]] = {}
    for index, entry in enumerate(entries):
        number = entry.get("frame_id", index) if isinstance(entry, dict) else None
        if type(number) is not int or number in found:
            raise UserError(f"{where}: instance_info[{index}]: an object with its own frame_id and instances is wanted")
        found[number] = _frame(entry.get("instances"), f"{where}: instance_info[{index}]")["people"]
    return _with_gaps(dict(sorted(found.items())), where, "frame_id")


def _with_gaps(found: dict[int, list[Any]], where: str, what: str) -> list[Frame]:
    """A frame for each number from the first to the last; nobody is in those that are not listed."""
    if not found:
        return []
    first, last = min(found), max(found)
    if last - first >= _MOST_FRAMES_BY_NUMBER * (len(found) + 10):
        raise UserError(
            f"{where}: {what} goes from {first} to {last} for {len(found)} frames; numbers of frames are wanted, or an "
            "annotations file with its list `images`"
        )
    if first > 1:  # lists begin at 0 or 1, but leave out frames in which nobody is
        logger.warning("%s: %s begins at %d: that one is taken for the first frame", where, what, first)
    return [{"people": found.get(number, [])} for number in range(first, last + 1)]


def _frame(instances: Any, where: str) -> Frame:
    """The people of one frame in MMPose's form."""
    if not isinstance(instances, list):
        raise UserError(f"{where}: a list of instances is wanted, each with keypoints and keypoint_scores")
    return {"people": [_person(instance, f"{where}: instances[{index}]") for index, instance in enumerate(instances)]}


def _person(instance: Any, where: str) -> Frame:
    if not isinstance(instance, dict) or not isinstance(instance.get("keypoints"), list):
        raise UserError(f"{where}: an object with a list keypoints is wanted")
    points = _triples(instance["keypoints"], instance.get("keypoint_scores"), f"{where}.keypoints")
    if len(points) not in (17, 133):
        name = f" ({_OTHER_BODIES[len(points)]})" if len(points) in _OTHER_BODIES else ""
        raise UserError(f"{where}.keypoints: {len(points)} points{name}; read are COCO's 17, or 133 of a whole body")
    person = {"pose_keypoints_2d": _flat([_neck(points) if n == _NECK else points[n] for n in _COCO_18_FROM_17])}
    if len(points) == 133:
        person |= {name: _flat(points[part]) for name, part in _WHOLE_BODY.items()}
    return person | {ours: instance[theirs] for theirs, ours in _COCO_PARTS.items() if instance.get(theirs)}


def _triples(keypoints: list[Any], scores: Any, where: str) -> list[list[float]]:
    """Points x, y, confidence of at most 1, from a flat list or a list of points."""
    if keypoints and not isinstance(keypoints[0], list):
        keypoints = [keypoints[start : start + 3] for start in range(0, len(keypoints), 3)]
    if scores is not None:
        if not isinstance(scores, list) or len(scores) != len(keypoints):
            raise UserError(f"{where}: keypoint_scores must be a list of one number for each of the {len(keypoints)}")
        keypoints = [[*point[:2], score] for point, score in zip(keypoints, scores, strict=True)]
    for point in keypoints:
        if not isinstance(point, list) or len(point) != 3 or not all(type(n) in (int, float) for n in point):
            raise UserError(f"{where}: numbers x, y and confidence (or COCO's visibility) of each point are wanted")
    return [[x, y, min(confidence, 1)] for x, y, confidence in keypoints]


def _neck(points: Sequence[Sequence[float]]) -> list[float]:
    left, right = points[_LEFT_SHOULDER], points[_RIGHT_SHOULDER]
    if min(left[2], right[2]) <= 0:
        return [0, 0, 0]
    return [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])]


def _flat(points: Sequence[Sequence[float]]) -> list[float]:
    return [number for point in points for number in point]


def _stem(name: Any) -> str:
    path = PurePath(str(name))
    return str(path.with_suffix("")) if path.suffix and not path.suffix[1:].isdecimal() else str(path)
