"""The pose detector that settings name."""

from __future__ import annotations

from masactrl_video.guidance.detectors import PoseDetector, open_pose_detector
from masactrl_video.model.location import local_path


def detector_named(name: str, threshold: float | None) -> PoseDetector:
    """A detector by name; those that begin with `demo/` ship with the package, for others see `open_pose_detector`.

    Args:
        name: of the setting `pose_detector`.
        threshold: the setting `pose_threshold`.

    Raises:
        UserError: its weights cannot be had, or its threshold is fixed.
    """
    path = str(local_path(name, "pose_detector")) if name.startswith("demo/") else name
    return open_pose_detector(path, threshold)
