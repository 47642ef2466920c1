"""The OpenPose detector of controlnet_aux: what ControlNet was trained with, with hands and face on request.

Its weights come from a hub id such as lllyasviel/Annotators or from a local folder (body_pose_model.pth,
hand_pose_model.pth, facenet.pth). CMU licenses them for non-commercial use.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from controlnet_aux import OpenposeDetector
from controlnet_aux.open_pose.util import faceDetect
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.pose import BODY_POINTS, HAND_POINTS, Keypoints, Person, Pose
from masactrl_video.storage.fingerprint import files_sha256

WEIGHT_FILES = ("body_pose_model.pth", "hand_pose_model.pth", "facenet.pth")
FACE_MAPS = 70
"""The face network's 71st map is the background."""
LARGEST_PX = 1920 * 1080
"""Of a picture that is searched: controlnet_aux enlarges 57 maps of 8 bytes a pixel to its size, 0.9 GB at this one."""
FACE_THRESHOLD = 0.05
"""As in controlnet_aux.open_pose.face."""


class AuxOpenposeDetector:
    """controlnet_aux.OpenposeDetector with our Pose as its answer."""

    def __init__(self, name: str, *, hands_and_face: bool = False, device: str = "cpu") -> None:
        """name is a hub id or a local folder. Raises UserError when the weights cannot be had or are not tensors."""
        files = _weight_files(name)
        for file in files:
            _require_plain_tensors(file)
        self._sha256 = files_sha256(files)
        self._hands_and_face = hands_and_face
        self._detector = _load(files[0].parent).to(device)

    @property
    def identity(self) -> str:
        """Weights by content, and whether hands and face are looked for."""
        return f"controlnet_aux:{self._sha256}:{self._hands_and_face=}"

    @property
    def threshold(self) -> None:
        """controlnet_aux has its thresholds in its code."""
        return None

    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3); one over `LARGEST_PX` is searched at that size."""
        height, width = image.shape[:2]
        shrunk = (LARGEST_PX / (height * width)) ** 0.5
        if shrunk >= 1:
            return self._find(image)
        small = cv2.resize(image, (round(width * shrunk), round(height * shrunk)), interpolation=cv2.INTER_AREA)
        factors = np.array([width / small.shape[1], height / small.shape[0]])
        return self._find(np.asarray(small, np.uint8)).transform(
            lambda xy: (xy + 0.5) * factors - 0.5, width_px=width, height_px=height
        )

    def _find(self, image: NDArray[np.uint8]) -> Pose:
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        estimate = self._detector.body_estimation
        with torch.no_grad():
            bodies = estimate.format_body_result(*estimate(bgr))
            people = tuple(self._person(body, bgr) for body in bodies)
        return Pose(people, image.shape[1], image.shape[0])

    def _person(self, body: Any, bgr: NDArray[np.uint8]) -> Person:
        points = np.zeros((BODY_POINTS, 3), np.float32)
        for index, keypoint in enumerate(body.keypoints):
            if keypoint is not None:
                points[index] = keypoint.x, keypoint.y, keypoint.score
        if not self._hands_and_face:
            return Person(points)
        left, right = (_hand(hand, bgr) for hand in self._detector.detect_hands(body, bgr))
        return Person(points, self._face(body, bgr), left, right)

    def _face(self, body: Any, bgr: NDArray[np.uint8]) -> Keypoints | None:
        """(70, 3); controlnet_aux's own detect_face leaves out missing points, after which their order is unknown."""
        box = faceDetect(body, bgr)
        if box is None:
            return None
        x, y, side = box
        maps = self._detector.face_estimation(bgr[y : y + side, x : x + side])[:FACE_MAPS]  # -> (70, side, side)
        rows, columns = np.unravel_index(maps.reshape(FACE_MAPS, -1).argmax(axis=1), maps.shape[1:])
        heights = maps.max(axis=(1, 2))
        points = np.stack([x + columns, y + rows, heights], axis=1).astype(np.float32)
        points[heights <= FACE_THRESHOLD] = 0
        return points


def _hand(hand: Any, bgr: NDArray[np.uint8]) -> Keypoints | None:
    """(21, 3); controlnet_aux gives 0 to 1, negative where missing, without confidences."""
    if hand is None:
        return None
    size_px = bgr.shape[1], bgr.shape[0]
    points = np.zeros((HAND_POINTS, 3), np.float32)
    for index, keypoint in enumerate(hand):
        if keypoint.x >= 0 and keypoint.y >= 0:
            points[index] = keypoint.x * size_px[0], keypoint.y * size_px[1], 1
    return points


def _weight_files(name: str) -> list[Path]:
    """The three files, from a local folder or from the hub (then all in one folder of its cache)."""
    if Path(name).is_dir():
        files = [Path(name, file) for file in WEIGHT_FILES]
        if absent := [file.name for file in files if not file.is_file()]:
            raise UserError(
                f"{name}: {', '.join(absent)} not there; an OpenPose folder holds {', '.join(WEIGHT_FILES)}"
            )
        return files
    wanted = (
        f"give a folder with {', '.join(WEIGHT_FILES)}, a hub id such as lllyasviel/Annotators, or an .onnx network"
    )
    if "/" not in name:  # no hub id, and the library would ask for it again and again
        raise UserError(f"pose detector {name!r}: no such folder; {wanted}")
    try:
        return [Path(hf_hub_download(name, file)) for file in WEIGHT_FILES]
    except (OSError, ValueError) as error:  # hub errors are OSErrors; a name that cannot be a hub id is a ValueError
        raise UserError(
            f"pose detector {name!r}: no such folder, and not to be had from the hub ({type(error).__name__}); {wanted}"
        ) from error


def _require_plain_tensors(file: Path) -> None:
    """Raises UserError unless the checkpoint loads without unpickling code.

    controlnet_aux calls torch.load without `weights_only`, which before torch 2.6, or with an environment variable,
    would run code in the file. A file that passes here holds tensors only, whatever that call does.
    """
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{file}: not a checkpoint of plain tensors, and other content is never unpickled ({type(error).__name__})"
        ) from error


def _load(folder: Path) -> Any:
    try:
        return OpenposeDetector.from_pretrained(str(folder))
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{folder}: its weights do not fit the OpenPose networks of controlnet_aux: {error}") from error
