"""What kind of pose sequence a path holds: `animate` goes the way of `render_clip` with each of them."""

from __future__ import annotations

import enum
import logging
from pathlib import Path

import numpy as np

from masactrl_video.controls.extractors import BLACK
from masactrl_video.errors import UserError
from masactrl_video.poses.pose_clip import is_pose_json
from masactrl_video.video.clip import open_clip
from masactrl_video.video.local_file import local_path

logger = logging.getLogger(__name__)


class PoseInput(enum.Enum):
    """What the poses are taken from."""

    JSON = "pose JSON"
    SKELETONS = "pictures of skeletons, used as they are"
    PEOPLE = "pictures of people, whose poses are detected"


def pose_input(path: Path, *, detected: bool) -> PoseInput:
    """Decide by what lies there, and for pictures by whether a detector was asked for.

    Raises:
        UserError: nothing is there, it cannot be read, or pictures are taken for skeletons and are not: in a picture
            of skeletons most is black.
    """
    if is_pose_json(local_path(path)):
        return PoseInput.JSON
    if detected:
        return PoseInput.PEOPLE
    first = open_clip(path).frame(0).pixels
    if np.mean(first.max(axis=2) < BLACK) < 0.5:
        raise UserError(
            f"{path} does not show skeletons on black; to take the poses of the people in it, give --pose-detector, "
            f"or to use it as guidance all the same: render {path} --guidance pose --guidance-video pose={path}"
        )
    logger.info("%s: its pictures are used as skeletons; to detect poses in them, give --pose-detector", path)
    return PoseInput.SKELETONS
