"""OpenPose-style 18-point networks in ONNX, run on the CPU by OpenCV: light, several people, body only."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.poses.detectors.part_affinity import FIELD_LIMBS, PeakOfPart, find_peaks, group_people
from masactrl_video.poses.pose import BODY_POINTS, Person, Pose
from masactrl_video.storage.fingerprint import files_sha256

FloatMap = NDArray[np.float32]

CHANNELS = BODY_POINTS + 1 + 2 * len(FIELD_LIMBS)
"""Heat maps of the parts, the background's, and x and y of each limb's affinity field."""
FIRST_FIELD = BODY_POINTS + 1


@dataclass(frozen=True)
class OnnxPoseOptions:
    """What counts as a part, a limb and a person. Raises UserError when a value is out of range."""

    part_threshold: float = 0.1
    """lowest peak of a heat map, 0 to 1"""
    limb_threshold: float = 0.05
    """lowest affinity along a limb, 0 to 1"""
    min_parts: int = 4
    """fewest parts of a person, 2 to 18"""
    min_confidence: float = 0.28
    """lowest mean peak of a person's parts, 0 to 1; what the 2 MB MobileNet network sees in a wolf or a car is below"""
    open_input_size_px: tuple[int, int] = (368, 432)
    """height, width of the network's input where the file leaves it open"""

    def __post_init__(self) -> None:
        for name in ("part_threshold", "limb_threshold", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"pose detector: {name} = {getattr(self, name)}; allowed: 0 to 1")
        if min(self.open_input_size_px) < 16:
            raise UserError(
                f"pose detector: open_input_size_px = {self.open_input_size_px}; allowed: 16 and more a side"
            )
        if not 2 <= self.min_parts <= BODY_POINTS:
            raise UserError(f"pose detector: min_parts = {self.min_parts}; allowed: 2 to {BODY_POINTS}")


@dataclass(frozen=True)
class _Letterbox:
    """The image in the top left corner of the network's input, its aspect ratio kept, the rest black."""

    input_size: tuple[int, int]
    fitted_size: tuple[int, int]

    def place(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (height, width), shrinks = self.fitted_size, self.fitted_size[0] < image.shape[0]
        canvas = np.zeros((*self.input_size, 3), np.uint8)
        canvas[:height, :width] = cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        return canvas

    def image_points(self, cells: FloatMap, map_size: tuple[int, int], image_size: tuple[int, int]) -> FloatMap:
        """Cells (points, 2) of the network's output as pixels of the image; both count from the first one's centre."""
        strides = [self.input_size[axis] / map_size[axis] for axis in (1, 0)]
        scales = [image_size[axis] / self.fitted_size[axis] for axis in (1, 0)]
        return ((cells + 0.5) * strides * scales - 0.5).astype(np.float32)


def _letterbox(image_size: tuple[int, int], input_size: tuple[int, int]) -> _Letterbox:
    scale = min(input_size[0] / image_size[0], input_size[1] / image_size[1])
    height, width = (max(1, round(side * scale)) for side in image_size)
    return _Letterbox(input_size, (height, width))


class OnnxPoseDetector:
    """The people of an image by part heat maps and affinity fields.

    The network takes float32 (1, 3, height, width), BGR, 0 to 255, and answers (1, 57, rows, columns):
    18 heat maps, the background, 38 channels of affinity fields in the order of OpenPose's COCO model.
    """

    def __init__(self, path: str | Path, options: OnnxPoseOptions | None = None) -> None:
        """Raises UserError when the file is missing, is not ONNX, or is a network of another kind."""
        self._path = Path(path)
        self._options = options or OnnxPoseOptions()
        self._input_size = _input_size(self._path) or self._options.open_input_size_px
        self._net = _load(self._path)
        self._run(np.zeros((*self._input_size, 3), np.uint8))

    @property
    def identity(self) -> str:
        """Weights by content, options, input size, OpenCV version."""
        return f"onnx:{files_sha256([self._path])}:{self._input_size}:{asdict(self._options)}:cv2-{cv2.__version__}"

    @property
    def threshold(self) -> float:
        """The lowest mean peak of a person's parts."""
        return self._options.min_confidence

    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3); the most certain person comes first."""
        height, width = image.shape[:2]
        letterbox = _letterbox((height, width), self._input_size)
        maps = self._run(letterbox.place(image))  # -> (57, rows, columns)
        peaks = [find_peaks(heat_map, self._options.part_threshold) for heat_map in maps[:BODY_POINTS]]
        groups = group_people(peaks, maps[FIRST_FIELD:], self._options.limb_threshold)
        bodies = [_body(group, peaks) for group in groups if self._is_person(group, peaks)]
        for body in bodies:
            seen = body[:, 2] > 0
            body[seen, :2] = letterbox.image_points(body[seen, :2], maps.shape[1:], (height, width))
        bodies.sort(key=lambda body: -float(body[:, 2].sum()))
        return Pose(tuple(Person(body) for body in bodies), width, height)

    def _is_person(self, group: PeakOfPart, peaks: list[FloatMap]) -> bool:
        mean = np.mean([peaks[part][peak, 2] for part, peak in group.items()])
        return len(group) >= self._options.min_parts and bool(mean >= self._options.min_confidence)

    def _run(self, image: NDArray[np.uint8]) -> FloatMap:
        """(57, rows, columns) of an RGB image of the input's size."""
        try:
            self._net.setInput(cv2.dnn.blobFromImage(image, swapRB=True))
            answer: FloatMap = self._net.forward()
        except cv2.error as error:
            raise _opencv_error(self._path, error) from error
        if answer.ndim != 4 or answer.shape[1] != CHANNELS:
            raise UserError(
                f"{self._path}: answers with shape {answer.shape}; an OpenPose-style network answers"
                f" (1, {CHANNELS}, rows, columns): 18 heat maps, background, 38 affinity fields"
            )
        maps: FloatMap = answer[0]
        return maps


def _input_size(path: Path) -> tuple[int, int] | None:
    """Height and width, None where the file leaves them open."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of an OpenPose-style .onnx network")
    try:
        shape = declared_input_shape(path)
    except ValueError as error:
        raise UserError(f"{path}: not an ONNX file: {error}") from error
    if len(shape) != 4 or shape[1] != 3:
        raise UserError(f"{path}: takes input of shape {shape}; an OpenPose-style network takes (1, 3, height, width)")
    return (shape[2], shape[3]) if shape[2] and shape[3] else None


def _load(path: Path) -> "cv2.dnn.Net":
    try:
        return cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise _opencv_error(path, error) from error


def _opencv_error(path: Path, error: cv2.error) -> UserError:
    return UserError(f"{path}: OpenCV {cv2.__version__} cannot run this network: {' '.join(str(error).split())}")


def _body(group: PeakOfPart, peaks: list[FloatMap]) -> FloatMap:
    """(18, 3) with x, y in cells; the confidence is the height of the peak."""
    body = np.zeros((BODY_POINTS, 3), np.float32)
    for part, peak in group.items():
        body[part] = peaks[part][peak]
    body[:, 2] = body[:, 2].clip(0, 1)
    return body


GRAPH, INPUT, TYPE, TENSOR_TYPE, SHAPE, DIM, DIM_VALUE = 7, 11, 2, 1, 2, 1, 1
Field = tuple[int, int | bytes]


def declared_input_shape(path: Path) -> tuple[int, ...]:
    """The shape of the first input, 0 for a dimension that is left open; empty where there is no input.

    Raises ValueError when the file is not a protobuf message.
    """
    for shape in _follow(path.read_bytes(), (GRAPH, INPUT, TYPE, TENSOR_TYPE, SHAPE)):
        return tuple(next(_numbers(dim, DIM_VALUE), 0) for dim in _follow(shape, (DIM,)))
    return ()


def _follow(message: bytes, numbers: tuple[int, ...]) -> Iterator[bytes]:
    """The messages found on a path of field numbers."""
    if not numbers:
        yield message
        return
    for number, value in _fields(message):
        if number == numbers[0] and isinstance(value, bytes):
            yield from _follow(value, numbers[1:])


def _numbers(message: bytes, wanted: int) -> Iterator[int]:
    return (value for number, value in _fields(message) if number == wanted and isinstance(value, int))


def _fields(message: bytes) -> Iterator[Field]:
    """Field numbers and values of a protobuf message: wire types 0 (varint), 1 and 5 (fixed), 2 (length-delimited)."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        wire_type = tag & 7
        if wire_type == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if wire_type == 2:
            length, place = _varint(message, place)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"protobuf wire type {wire_type} at byte {place}")
        if place + length > len(message):
            raise ValueError(f"a field ends behind the message at byte {place}")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A variable-length number and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("the message ends inside a number")
        value |= (message[place] & 0x7F) << shift
        place += 1
        if not message[place - 1] & 0x80:
            return value, place
    raise ValueError(f"a number longer than ten bytes at byte {place}")
