"""How well the keypoint network that ships finds keypoints, on exact pictures of characters that no training saw.

python benchmarks/keypoints.py [FOLDER]

FOLDER is what `KeypointNetwork.save_pretrained` wrote, by default the one that ships.
"""

import sys
from pathlib import Path

import numpy as np

from masactrl_video.demo.folder import WEIGHTS
from masactrl_video.demo.training.keypoints import empty_scenes
from masactrl_video.demo.world.frame import posed_at_random
from masactrl_video.demo.world.identity import WORLDS, random_identity
from masactrl_video.poses.detectors.network import NetworkPoseDetector
from masactrl_video.poses.pose import BODY_POINTS

SIDE_PX, PICTURES, SCENES, SEED = 128, 200, 40, 99
FAR_PX = 3


def errors_px(detector: NetworkPoseDetector, world: str) -> np.ndarray:
    """Distance of each keypoint from the true one; NaN where it is missing. (pictures, 18)"""
    random = np.random.default_rng(SEED)
    found: list[np.ndarray] = []
    while len(found) < PICTURES:
        identity = random_identity(random, WORLDS[world])
        if not identity.held_out:
            continue
        frame = posed_at_random(identity, random, SIDE_PX, SIDE_PX, WORLDS[world])
        pose = detector(frame.image)
        body = pose.people[0].body if pose.people else np.zeros((BODY_POINTS, 3))
        away = np.linalg.norm(body[:, :2] - frame.keypoints, axis=1)
        found.append(np.where(body[:, 2] > 0, away, np.nan))
    return np.array(found)


def main(folder: Path) -> None:
    """Print all figures."""
    detector = NetworkPoseDetector(folder)
    for world in WORLDS:
        errors = errors_px(detector, world)
        print(
            f"{world} world, {PICTURES} pictures: mean error {np.nanmean(errors):.2f} px of {SIDE_PX}, "
            f"{(errors > FAR_PX).mean():.2%} more than {FAR_PX} px off, {np.isnan(errors).mean():.2%} missing"
        )
    scenes = empty_scenes(SCENES, SIDE_PX, np.random.default_rng(SEED))
    people = sum(detector(scene).has_person for scene in scenes)
    print(f"scenes without a figure: somebody found in {people} of {SCENES}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS / "keypoints")
