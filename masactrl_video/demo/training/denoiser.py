"""The losses of the UNet and of the networks that guide it."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, T2IAdapter, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from masactrl_video.demo.training.data import FRAMES_EACH, Frames
from masactrl_video.demo.training.pairs import Sight, seen_in_pairs

CAPTION_DROPPED = 0.1
"""Part of the samples without a caption, for classifier-free guidance."""
SEEN: dict[Sight | None, float] = {None: 0.4, "both": 0.25, "first": 0.35}
"""Parts of the batches by what the self-attention sees; with None they are single pictures."""
GUIDED_BY: dict[str | None, float] = {
    None: 0.2,
    "controlnet-pose": 0.25,
    "t2i-adapter-pose": 0.3,
    "controlnet-canny": 0.1,
    "t2i-adapter-canny": 0.15,
}
"""Parts of the batches by the network that guides them; with None the UNet stands alone."""

Residuals = dict[str, Tensor | Sequence[Tensor]]
Guide = Callable[[Tensor, Tensor, Tensor, Tensor], Residuals]
"""(noisy latents, timesteps, text states, condition in [0, 1]) to arguments of the UNet."""


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    latents: Tensor
    """(batch, channels, rows, columns)"""
    tokens: Tensor
    """(batch, tokens)"""
    condition: Tensor | None
    """(batch, 3, height, width) in [0, 1]"""


@dataclass(frozen=True)
class Latents:
    """All training frames as the denoiser needs them."""

    frames: Frames
    latents: Tensor
    tokens: Tensor
    empty_tokens: Tensor
    """The empty caption. (tokens,)"""

    def batch(self, random: np.random.Generator, size: int, condition: str | None, pairs: bool, device: str) -> Batch:
        """Random frames, some without a caption; of pairs, the first frames of all come before the second ones."""
        chosen = self._chosen(random, size, each=2 if pairs else 1).T  # -> (1 or 2, rows)
        uncaptioned = np.broadcast_to(random.uniform(size=chosen.shape[1]) < CAPTION_DROPPED, chosen.shape).flatten()
        frames = chosen.flatten()
        tokens = self.tokens[frames].clone()
        tokens[torch.from_numpy(uncaptioned)] = self.empty_tokens
        pictures = None
        if condition is not None:
            drawn = np.stack([self.frames.condition_picture(condition, int(index)) for index in frames])
            pictures = torch.from_numpy(drawn).to(device).permute(0, 3, 1, 2).float() / 255
        return Batch(self.latents[frames].to(device), tokens.to(device), pictures)

    def _chosen(self, random: np.random.Generator, size: int, each: int) -> NDArray[np.int64]:
        """Indices of frames (size / each, each); those of a row are different frames of one identity."""
        rows = size // each
        identities = random.integers(len(self.latents) // FRAMES_EACH, size=(rows, 1))
        poses = random.permuted(np.tile(np.arange(FRAMES_EACH), (rows, 1)), axis=1)[:, :each]
        chosen: NDArray[np.int64] = identities * FRAMES_EACH + poses
        return chosen


def denoising_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDIMScheduler,
    batch: Batch,
    guide: Guide | None,
    sight: Sight | None = None,
) -> Tensor:
    """Squared error of the velocity at random timesteps; without a condition the UNet is not guided.

    The pictures of a pair are at the same timestep, each with noise of its own.
    """
    noise = torch.randn_like(batch.latents)
    steps, each = scheduler.config.num_train_timesteps, 2 if sight else 1
    timesteps = torch.randint(steps, (len(noise) // each,), device=noise.device).repeat(each)
    noisy = scheduler.add_noise(batch.latents, noise, timesteps)
    target = scheduler.get_velocity(batch.latents, noise, timesteps)
    text = text_encoder(batch.tokens)[0]
    residuals = {}
    if guide is not None and batch.condition is not None:
        residuals = guide(noisy, timesteps, text, batch.condition)
    with seen_in_pairs(unet, sight) if sight else nullcontext():
        predicted = unet(noisy, timesteps, text, **residuals).sample
    return F.mse_loss(predicted.float(), target)


def guide_of(network: nn.Module) -> Guide:
    """How a ControlNet's or a T2I-Adapter's output enters the UNet."""
    if isinstance(network, ControlNetModel):
        return lambda noisy, timesteps, text, condition: _control(network, noisy, timesteps, text, condition)
    if isinstance(network, T2IAdapter):
        return lambda noisy, timesteps, text, condition: {"down_intrablock_additional_residuals": network(condition)}
    raise TypeError(f"no guide of a {type(network).__name__}")


def _control(network: ControlNetModel, noisy: Tensor, timesteps: Tensor, text: Tensor, condition: Tensor) -> Residuals:
    down, middle = network(noisy, timesteps, text, condition, return_dict=False)
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
