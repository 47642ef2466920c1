"""The keypoint network's training: pictures, some of them spoiled, to heat maps around the true keypoints.

The network is to find figures in colours that the world does not have, and figures that were cut out, as sprites are;
and nobody where nobody is.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masactrl_video.demo.training.data import Frames
from masactrl_video.demo.training.run import Losses
from masactrl_video.demo.training.vae import to_tensor
from masactrl_video.demo.world.draw import Canvas
from masactrl_video.demo.world.identity import random_identity
from masactrl_video.demo.world.scene import draw_scene
from masactrl_video.poses.detectors.network import KEYPOINT_WEIGHT, STRIDE, KeypointNetwork

_SPREAD_CELLS = 1.2
"""Standard deviation of the target around a keypoint."""
_MOST_NOISE = 0.15
"""Deviation of the strongest noise, of colours in [-1, 1]."""
_RECOLOURED = 0.6
"""Share of pictures whose hues are turned."""
_LEAST_COLOUR, _MOST_COLOUR = 0.2, 1.1
"""Saturation of a recoloured picture, against its own."""
_DARKEST = 0.5
"""Brightness of the darkest recoloured pictures, against their own."""
_CUT_OUT = 0.25
"""Share of pictures whose figure stands on one colour, without its shadow."""
_EMPTY = 0.1
"""Share of pictures that show nobody."""
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def keypoint_losses(
    network: KeypointNetwork, frames: Frames, random: np.random.Generator, size: int, device: str
) -> Losses:
    """Binary cross-entropy of the heat maps of random frames."""
    chosen = random.integers(len(frames.images), size=size)
    masks = torch.from_numpy(frames.masks[chosen]).to(device)[:, None] > 0
    pictures = cut_out(to_tensor(frames.images[chosen], device), masks, random)
    empty = random.uniform(size=size) < _EMPTY
    if empty.any():
        pictures[empty] = to_tensor(empty_scenes(int(empty.sum()), frames.images.shape[1], random), device)
    logits = network(_spoiled(recoloured(pictures, random), random))
    wanted = heat_maps(frames.keypoints[chosen], logits.shape[2:]).to(device)
    wanted[empty] = 0
    weight = torch.tensor(KEYPOINT_WEIGHT, device=device)
    return {"heat": F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight)}


def empty_scenes(count: int, side_px: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Scenes of the world without a figure. RGB (count, side, side, 3)"""
    canvases = [Canvas(side_px, side_px) for _ in range(count)]
    for canvas in canvases:
        draw_scene(canvas, random_identity(random))
    return np.stack([canvas.picture() for canvas in canvases])


def heat_maps(keypoints: NDArray[np.float32], grid: tuple[int, ...]) -> Tensor:
    """A bump of height 1 at every keypoint. Pixels (frames, 18, 2) to (frames, 18, rows, columns)"""
    cells = torch.from_numpy((keypoints + 0.5) / STRIDE - 0.5)
    rows = torch.arange(grid[0])[:, None] - cells[..., 1, None, None]  # -> (frames, 18, rows, 1)
    columns = torch.arange(grid[1]) - cells[..., 0, None, None]  # -> (frames, 18, 1, columns)
    return torch.exp(-(rows.square() + columns.square()) / (2 * _SPREAD_CELLS**2)).float()


def cut_out(pictures: Tensor, masks: Tensor, random: np.random.Generator) -> Tensor:
    """Some of the figures on a ground of one colour."""
    cut = torch.from_numpy(random.uniform(size=(len(pictures), 1, 1, 1)) < _CUT_OUT).to(pictures.device)
    ground = torch.from_numpy(random.uniform(-1, 1, (len(pictures), 3, 1, 1))).to(pictures)
    return torch.where(cut & ~masks, ground, pictures)


def recoloured(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Some pictures with all their hues turned by one angle, less or more saturated, and darker."""
    turns = [
        _colour_turn(random.uniform(0, 2 * math.pi), random.uniform(_LEAST_COLOUR, _MOST_COLOUR))
        * random.uniform(_DARKEST, 1)
        if random.uniform() < _RECOLOURED
        else torch.eye(3)
        for _ in pictures
    ]
    light = (pictures + 1) / 2
    return (torch.einsum("bij,bjhw->bihw", torch.stack(turns).to(pictures), light) * 2 - 1).clamp(-1, 1)


def _colour_turn(angle: float, saturation: float) -> Tensor:
    """A matrix for RGB columns that turns hues and leaves brightness. (3, 3)"""
    cosine, sine = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = torch.tensor([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    into_rgb: Tensor = torch.linalg.inv(_YIQ)
    return into_rgb @ turn @ _YIQ


def _spoiled(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Blurred for half of the batches, with noise of random strength: what a generated picture may look like."""
    if random.uniform() < 0.5:
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    strength = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) * _MOST_NOISE
    return pictures + strength * torch.randn_like(pictures)
