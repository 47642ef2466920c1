"""Write the named poses that ship with the package, from the angles of the cartoon world's actions.

python examples/make_named_poses.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

from masactrl_video.demo.world.poses import Pose as Angles
from masactrl_video.demo.world.poses import pose_of
from masactrl_video.poses.named_poses import FOLDER
from masactrl_video.poses.pose import Person, Pose
from masactrl_video.poses.pose_json import write_poses

SIDE_PX = 512
PLACE = {"x": 0.5, "ground": 0.96, "height": 0.72}  # what a balloon needs is left above the head
# name → action and phase of its cycle
FROM_ACTIONS = {
    "standing": ("standing", 0.0),
    "waving": ("waving", 0.0),
    "cheering": ("cheering", 0.0),
    "walking": ("walking", 0.0),
    "running": ("running", 0.0),
    "kicking": ("kicking", 0.5),
    "sitting": ("sitting", 0.0),
    "dancing": ("dancing", 0.0),
}
# Not among the actions. Degrees as there: right arm, left arm, right leg, left leg (two each), lean, nod
OTHERS = {
    "pointing": (-18, -10, 84, 88, -6, -4, 6, 4, 0, 4),
    "hands-on-hips": (-52, 28, 52, -28, -9, -6, 9, 6, 0, 0),
    "arms-raised": (-165, -172, 165, 172, -6, -4, 6, 4, 0, 0),
}


def main(folder: Path) -> None:
    """One JSON for each pose."""
    angles = {name: pose_of(action, phase, **PLACE) for name, (action, phase) in FROM_ACTIONS.items()}
    angles |= {name: Angles(degrees, **PLACE) for name, degrees in OTHERS.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, pose in angles.items():
        points = np.round(pose.keypoints() * SIDE_PX, 1)  # -> (18, 2)
        body = np.column_stack([points, np.ones(len(points))]).astype(np.float32)
        write_poses(folder / f"{name}.json", [Pose((Person(body),), SIDE_PX, SIDE_PX)])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
