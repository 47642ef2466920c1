"""Pose detectors: a frame in, a pose out."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masactrl_video.guidance.pose import Pose


class PoseDetector(Protocol):
    """Finds the people of a frame."""

    @property
    def identity(self) -> str:
        """Everything that determines the answers (weights by content, options), for the key of a reusable result."""

    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3), in its pixels; no people when nobody is found."""


def open_pose_detector(name: str) -> PoseDetector:
    """A detector by name: the path of an `.onnx` file, the folder of a `KeypointNetwork`, or a hub id or local folder
    for controlnet_aux.

    Raises UserError when the weights cannot be had or are not of the expected kind.
    """
    # Imported here because controlnet_aux takes six seconds, which the ONNX network must not pay.
    if name.endswith(".onnx"):
        from masactrl_video.guidance.onnx_detector import OnnxPoseDetector

        return OnnxPoseDetector(name)
    if (Path(name) / "config.json").is_file():
        from masactrl_video.guidance.keypoint_network import NetworkPoseDetector

        return NetworkPoseDetector(name)
    from masactrl_video.guidance.openpose_detector import AuxOpenposeDetector

    return AuxOpenposeDetector(name)
