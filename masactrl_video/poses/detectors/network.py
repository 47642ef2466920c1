"""A small network that finds the 18 keypoints of one figure, and the detector made of it; weights are safetensors."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from numpy.typing import NDArray
from torch import nn

from masactrl_video.poses.pose import BODY_POINTS, Person, Pose
from masactrl_video.storage.fingerprint import files_sha256

STRIDE = 4
"""Pixels of the network's input to a cell of its heat maps."""
LOWEST_PEAK = 0.2
"""Below it a keypoint counts as missing."""
KEYPOINT_WEIGHT = 10.0
"""Of a keypoint against the ground in the training: the network learns the odds of a bump this many times over."""
_LEAST_CONTRAST = 8
"""Of 255: a frame of one colour, as at a fade, has less. The network's norms would make a figure of its noise."""


class KeypointNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pictures to a heat map for each keypoint, by convolutions that see the whole figure.

    Args:
        sample_size: height in pixels that pictures are brought to; what it was trained on.
        channels: width of the network.
        dilations: of the residual blocks; together they reach over the whole picture.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, sample_size: int = 128, channels: int = 48, dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 1)
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels // 2, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(_Block(channels, dilation) for dilation in dilations)
        self.head = nn.Conv2d(channels, BODY_POINTS, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(pictures, 3, height, width) in [-1, 1] to logits (pictures, 18, height / 4, width / 4)."""
        features = self.stem(pictures)
        for block in self.blocks:
            features = features + block(features)
        heat_maps: torch.Tensor = self.head(features)
        return heat_maps


class _Block(nn.Sequential):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            nn.GroupNorm(8, channels),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )


class NetworkPoseDetector:
    """The one figure of a picture, by a `KeypointNetwork`'s highest peaks."""

    def __init__(self, folder: str | Path, lowest_peak: float = LOWEST_PEAK) -> None:
        """`folder` is what `KeypointNetwork.save_pretrained` wrote; keypoints below lowest_peak are missing."""
        self._lowest_peak = lowest_peak
        self._folder = Path(folder)
        self._network: Any = KeypointNetwork.from_pretrained(self._folder, torch_dtype=torch.float32).eval()

    @property
    def identity(self) -> str:
        """Weights by content, and how peaks are found."""
        weights = files_sha256(sorted(self._folder.glob("*.safetensors")))
        return f"keypoints:{weights}:{self._lowest_peak}:between cells"

    @property
    def threshold(self) -> float:
        """The lowest peak of a keypoint."""
        return self._lowest_peak

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8]) -> Pose:
        """The pose of an RGB uint8 image (height, width, 3) of any size."""
        height, width = image.shape[:2]
        if np.ptp(image, axis=(0, 1)).max() < _LEAST_CONTRAST:
            return Pose((), width, height)
        scale = self._network.config.sample_size / height
        size = (max(STRIDE, round(width * scale)), round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        pixels = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
        maps = self._network(pixels)[0].numpy()  # -> (18, rows, columns)
        body = np.stack([_peak(logits) for logits in maps])
        body[:, :2] = (body[:, :2] + 0.5) * STRIDE / scale - 0.5
        body[body[:, 2] < self._lowest_peak] = 0
        return Pose((Person(body),) if body[:, 2].any() else (), width, height)


def _peak(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """x and y in cells with fractions, and the confidence, of the highest place."""
    row, column = np.unravel_index(int(logits.argmax()), logits.shape)
    x, y = top_between_cells(log_bump(logits), int(row), int(column))
    return np.array([x, y, np.exp(-np.logaddexp(0, -logits[row, column]))], np.float32)


def log_bump(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm of the bump around a keypoint that a map was trained to be: a parabola. (rows, columns)"""
    return np.asarray(-np.logaddexp(0, np.log(KEYPOINT_WEIGHT) - logits), np.float32)


def top_between_cells(bump: NDArray[np.float32], row: int, column: int) -> tuple[float, float]:
    """x and y in cells of the top that is next to a highest cell of `log_bump`."""
    across, down = bump[row, max(0, column - 1) : column + 2], bump[max(0, row - 1) : row + 2, column]
    return column + _top(across), row + _top(down)


def _top(values: NDArray[np.float32]) -> float:
    """Where a parabola through three values, the middle one the highest, has its top, from the middle; at a rim: 0."""
    if len(values) < 3:
        return 0.0
    before, middle, after = values.tolist()
    bend = before - 2 * middle + after
    return 0.0 if bend == 0 else 0.5 * (before - after) / bend
