"""The losses of the UNet and of the networks that guide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, T2IAdapter, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from masactrl_video.demo.training.data import Frames

CAPTION_DROPPED = 0.1
"""Part of the samples without a caption, for classifier-free guidance."""
GUIDANCE_DROPPED = 0.3
"""Part of the batches in which the UNet stands alone."""

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

    def batch(self, random: np.random.Generator, size: int, condition: str | None, device: str) -> Batch:
        """Random frames, some of them without a caption."""
        chosen = random.integers(len(self.latents), size=size)
        tokens = self.tokens[chosen].clone()
        tokens[torch.from_numpy(random.uniform(size=size) < CAPTION_DROPPED)] = self.empty_tokens
        pictures = None
        if condition is not None:
            drawn = np.stack([self.frames.condition_picture(condition, index) for index in chosen])
            pictures = torch.from_numpy(drawn).to(device).permute(0, 3, 1, 2).float() / 255
        return Batch(self.latents[chosen].to(device), tokens.to(device), pictures)


def denoising_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDIMScheduler,
    batch: Batch,
    guide: Guide | None,
) -> Tensor:
    """Squared error of the velocity at random timesteps; without a condition the UNet is not guided."""
    noise = torch.randn_like(batch.latents)
    steps = scheduler.config.num_train_timesteps
    timesteps = torch.randint(steps, (len(noise),), device=noise.device)
    noisy = scheduler.add_noise(batch.latents, noise, timesteps)
    target = scheduler.get_velocity(batch.latents, noise, timesteps)
    text = text_encoder(batch.tokens)[0]
    residuals = {}
    if guide is not None and batch.condition is not None:
        residuals = guide(noisy, timesteps, text, batch.condition)
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
