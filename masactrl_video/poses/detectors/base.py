"""Pose detectors: a frame in, a pose out."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError, any_of
from masactrl_video.plugins import load_plugin, plugin_names
from masactrl_video.poses.pose import Pose


class PoseDetector(Protocol):
    """Finds the people of a frame. One of another package takes the threshold, None for its own, when it is made."""

    @property
    def identity(self) -> str:
        """Everything that determines the answers (weights by content, options), for the key of a reusable result."""

    @property
    def threshold(self) -> float | None:
        """Confidence from which something counts as a person, 0 to 1; None where it cannot be set."""

    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3), in its pixels; no people when nobody is found."""


def open_pose_detector(name: str, threshold: float | None = None) -> PoseDetector:
    """A detector by name: one that another package adds, the path of an `.onnx` file, the folder of a
    `KeypointNetwork`, or a hub id or local folder for controlnet_aux.

    threshold, 0 to 1, takes the place of the detector's own (see `PoseDetector.threshold`). Raises UserError when the
    weights cannot be had or are not of the expected kind, or when the detector has no threshold that can be set.
    """
    if name in plugin_names("pose_detectors"):
        return _added(name, threshold)
    # Imported here because controlnet_aux takes six seconds, which the ONNX network must not pay.
    if name.endswith(".onnx"):
        from masactrl_video.poses.detectors.onnx import OnnxPoseDetector, OnnxPoseOptions

        return OnnxPoseDetector(name, None if threshold is None else OnnxPoseOptions(min_confidence=threshold))
    if (Path(name) / "config.json").is_file():
        from masactrl_video.poses.detectors.network import LOWEST_PEAK, NetworkPoseDetector

        return NetworkPoseDetector(name, LOWEST_PEAK if threshold is None else threshold)
    if threshold is not None:
        raise UserError(
            f"pose_threshold: {name} is OpenPose of controlnet_aux, whose threshold is fixed; leave it out, or take an "
            ".onnx network"
        )
    from masactrl_video.poses.detectors.openpose import AuxOpenposeDetector

    return AuxOpenposeDetector(name)


def _added(name: str, threshold: float | None) -> PoseDetector:
    kind = load_plugin("pose_detectors", name)
    if not callable(kind):
        raise UserError(
            f"pose_detector: {name} is {kind!r}; a package adds a class, or a function that makes a detector"
        )
    try:
        detector = kind(threshold)
    except UserError:
        raise
    except Exception as error:  # whatever the package does when it loads
        raise UserError(f"pose_detector: {name} cannot be loaded: {error or type(error).__name__}") from error
    return _Checked(name, detector)


class _Checked:
    """A detector of another package whose answers are looked at: a wrong one is named here, and not drawn."""

    def __init__(self, name: str, detector: Any) -> None:
        missing = [part for part in ("identity", "threshold", "__call__") if not hasattr(detector, part)]
        if missing:
            raise UserError(f"pose_detector: {name} has no {' and no '.join(missing)}; see docs/plug-points.md")
        self._name, self._detector = name, detector

    @property
    def identity(self) -> str:
        """Two packages' detectors are never taken for one another."""
        return f"{self._name}:{self._detector.identity}"

    @property
    def threshold(self) -> float | None:
        """As the detector says."""
        found: float | None = self._detector.threshold
        return found

    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The detector's answer for an RGB uint8 image (height, width, 3)."""
        pose = self._detector(image)
        size = image.shape[:2]
        if not isinstance(pose, Pose) or (pose.height_px, pose.width_px) != size:
            raise UserError(
                f"pose_detector: {self._name} answers with {pose!r:.80}; a Pose of {size[1]}x{size[0]} is wanted"
            )
        return pose


def nobody_found(detector: PoseDetector, frames: int, *ways_out: str) -> UserError:
    """The error where a detector finds nobody in a whole clip, with what may help."""
    ways = ["another --pose-detector", *ways_out]
    if detector.threshold:
        ways.insert(1, f"a --pose-threshold below {detector.threshold:g}")
    return UserError(f"no person is found in {any_of(frames, 'frame')} of the clip; take {', or '.join(ways)}")
