"""The losses of the UNet and of the networks that guide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, T2IAdapter, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from masactrl_video.demo.training.data import FRAMES_EACH, Frames

CAPTION_DROPPED = 0.1
"""Part of the samples without a caption, for classifier-free guidance."""
STRIPS = 0.5
"""Part of the batches that are strips: two pictures of one character side by side, as in a comic. The large models learn
from such pictures on the web that what belongs together looks alike; here they teach the self-attention the same."""
GUIDED_BY: dict[str | None, float] = {
    None: 0.2,
    "controlnet-pose": 0.4,
    "t2i-adapter-pose": 0.15,
    "controlnet-canny": 0.15,
    "t2i-adapter-canny": 0.1,
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

    def batch(self, random: np.random.Generator, size: int, condition: str | None, strip: bool, device: str) -> Batch:
        """Random frames, some of them without a caption, or half as many strips of two with the caption of the first."""
        chosen = self._chosen(random, size, panels=2 if strip else 1)  # -> (rows, panels)
        tokens = self.tokens[chosen[:, 0]].clone()
        tokens[torch.from_numpy(random.uniform(size=len(chosen)) < CAPTION_DROPPED)] = self.empty_tokens
        pictures = None
        if condition is not None:
            drawn = [[self.frames.condition_picture(condition, index) for index in row] for row in chosen]
            panels = torch.from_numpy(np.array(drawn)).permute(0, 1, 4, 2, 3)  # -> (rows, panels, 3, height, width)
            pictures = side_by_side(panels).to(device).float() / 255
        return Batch(side_by_side(self.latents[chosen]).to(device), tokens.to(device), pictures)

    def _chosen(self, random: np.random.Generator, size: int, panels: int) -> NDArray[np.int64]:
        """Indices of frames (size / panels, panels); those of a row are different frames of one identity."""
        rows = size // panels
        identities = random.integers(len(self.latents) // FRAMES_EACH, size=(rows, 1))
        poses = random.permuted(np.tile(np.arange(FRAMES_EACH), (rows, 1)), axis=1)[:, :panels]
        return identities * FRAMES_EACH + poses


def side_by_side(panels: Tensor) -> Tensor:
    """(rows, panels, channels, height, width) to (rows, channels, height, panels x width)."""
    return torch.cat(panels.unbind(dim=1), dim=-1)


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
