"""The file of the pose that is kept beside a picture."""

from __future__ import annotations

import json
from pathlib import Path

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import Pose
from masactrl_video.poses.pose_json import poses_from
from masactrl_video.sources.characters.index import POSE_NAME, CharacterDamaged


def parse_pose(data: bytes, place: Path) -> Pose:
    """The one pose of a file.

    Raises:
        CharacterDamaged: it holds none, or several.
    """
    try:
        poses = poses_from(json.loads(data), POSE_NAME)
    except (UserError, ValueError, RecursionError) as error:
        raise CharacterDamaged(place, f"{POSE_NAME} is not what its name says ({error!s:.120})") from error
    if len(poses) != 1 or not poses[0].has_person:
        raise CharacterDamaged(place, f"{POSE_NAME} does not hold one pose of somebody")
    return poses[0]
