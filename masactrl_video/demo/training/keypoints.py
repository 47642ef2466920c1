"""The keypoint network's training: pictures, some blurred and noisy, to heat maps around the true keypoints."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masactrl_video.demo.training.data import Frames
from masactrl_video.demo.training.run import Losses
from masactrl_video.demo.training.vae import to_tensor
from masactrl_video.poses.detectors.network import STRIDE, KeypointNetwork

_SPREAD_CELLS = 1.2
"""Standard deviation of the target around a keypoint."""
_MOST_NOISE = 0.15
"""Deviation of the strongest noise, of colours in [-1, 1]."""


def keypoint_losses(
    network: KeypointNetwork, frames: Frames, random: np.random.Generator, size: int, device: str
) -> Losses:
    """Binary cross-entropy of the heat maps of random frames."""
    chosen = random.integers(len(frames.images), size=size)
    pictures = _spoiled(to_tensor(frames.images[chosen], device), random)
    logits = network(pictures)
    wanted = heat_maps(frames.keypoints[chosen], logits.shape[2:]).to(device)
    return {"heat": F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=torch.tensor(10.0, device=device))}


def heat_maps(keypoints: NDArray[np.float32], grid: tuple[int, ...]) -> Tensor:
    """A bump of height 1 at every keypoint. Pixels (frames, 18, 2) to (frames, 18, rows, columns)"""
    cells = torch.from_numpy((keypoints + 0.5) / STRIDE - 0.5)
    rows = torch.arange(grid[0])[:, None] - cells[..., 1, None, None]  # -> (frames, 18, rows, 1)
    columns = torch.arange(grid[1]) - cells[..., 0, None, None]  # -> (frames, 18, 1, columns)
    return torch.exp(-(rows.square() + columns.square()) / (2 * _SPREAD_CELLS**2)).float()


def _spoiled(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Blurred for half of the batches, with noise of random strength: what a generated picture may look like."""
    if random.uniform() < 0.5:
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    strength = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) * _MOST_NOISE
    return pictures + strength * torch.randn_like(pictures)
