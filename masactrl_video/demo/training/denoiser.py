"""The losses of the UNet and of the networks that guide it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, T2IAdapter, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel

from masactrl_video.demo.training.data import FRAMES_EACH, Frames
from masactrl_video.demo.training.matching import coverage, matches
from masactrl_video.demo.training.noising import draw_timesteps, noised
from masactrl_video.demo.training.pairs import Sight, Truth, told_where_to_look
from masactrl_video.demo.training.run import Losses

CAPTION_DROPPED = 0.1
"""Part of the samples without a caption, for classifier-free guidance."""
SEEN: dict[Sight | None, float] = {None: 0.25, "both": 0.15, "first": 0.6}
"""Parts of the batches by what the self-attention sees; with None they are single pictures."""
GUIDED_BY: dict[str | None, float] = {
    None: 0.2,
    "controlnet-pose": 0.25,
    "t2i-adapter-pose": 0.3,
    "controlnet-canny": 0.1,
    "t2i-adapter-canny": 0.15,
}
"""Parts of the batches by the network that guides them; with None the UNet stands alone."""

FIGURE_WEIGHT = 3.0
"""Of the velocity's error on the character, against 1 on the ground: it is what eyes see first, on few of the cells."""
MATCHING_WEIGHT = 0.03
"""Of the cross-entropy between self-attention and the cells that show the same place of the character."""
WORDS_WEIGHT = 0.05
"""Of the cross-entropy between cross-attention to the character's words and its silhouette."""

Residuals = dict[str, Tensor | Sequence[Tensor]]
Guide = Callable[[Tensor, Tensor, Tensor, Tensor], Residuals]
"""(noisy latents, timesteps, text states, condition in [0, 1]) to arguments of the UNet."""


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    chosen: NDArray[np.int64]
    """Its frames. (batch,)"""
    latents: Tensor
    """(batch, channels, rows, columns)"""
    others: Tensor
    """Of somebody else in the same poses, whom the same captions fit. (batch, channels, rows, columns)"""
    tokens: Tensor
    """(batch, tokens)"""
    condition: Tensor | None
    """(batch, 3, height, width) in [0, 1]"""
    truth: Truth


@dataclass(frozen=True)
class Latents:
    """All training frames as the denoiser needs them."""

    frames: Frames
    latents: Tensor
    others: Tensor
    tokens: Tensor
    empty_tokens: Tensor
    """The empty caption. (tokens,)"""
    object_ids: Tensor
    """Tokens of the words that stand for the character. (words,)"""

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
        latents, others = (of_all[frames].to(device) for of_all in (self.latents, self.others))
        return Batch(frames, latents, others, tokens.to(device), pictures, self._truth(frames, tokens, pairs, device))

    def _truth(self, frames: NDArray[np.int64], tokens: Tensor, pairs: bool, device: str) -> Truth:
        """Where attention should look, on the whole and on the half grid of the latents."""
        side = self.latents.shape[-1]
        masks, points = self.frames.masks[frames], self.frames.keypoints[frames]
        half = len(frames) // 2
        sides = {cells * cells: cells for cells in (side, side // 2)}
        pair = (points[:half], points[half:], (masks[:half], masks[half:]))
        matched = sides if pairs else {}
        return Truth(
            {count: torch.from_numpy(matches(*pair, cells)).to(device) for count, cells in matched.items()},
            {count: torch.from_numpy(coverage(masks, cells)).to(device) for count, cells in sides.items()},
            torch.isin(tokens, self.object_ids).float().to(device),
        )

    def _chosen(self, random: np.random.Generator, size: int, each: int) -> NDArray[np.int64]:
        """Indices of frames (size / each, each); those of a row are different frames of one identity."""
        rows = size // each
        identities = random.integers(len(self.latents) // FRAMES_EACH, size=(rows, 1))
        poses = random.permuted(np.tile(np.arange(FRAMES_EACH), (rows, 1)), axis=1)[:, :each]
        chosen: NDArray[np.int64] = identities * FRAMES_EACH + poses
        return chosen


def denoising_losses(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDIMScheduler,
    batch: Batch,
    guide: Guide | None,
    sight: Sight | None = None,
) -> Losses:
    """Squared error of the velocity at random timesteps, and how far attention is from where it should look.

    Without a condition the UNet is not guided.
    """
    timesteps = draw_timesteps(scheduler.config.num_train_timesteps, len(batch.latents), sight).to(batch.latents.device)
    noisy, target = noised(scheduler, batch.latents, batch.others, timesteps, sight)
    text = text_encoder(batch.tokens)[0]
    residuals = guided(batch, guide, noisy, timesteps, text)
    with told_where_to_look(unet, sight, batch.truth) as watched:
        predicted = unet(noisy, timesteps, text, **residuals).sample
    weights = {"matching": MATCHING_WEIGHT, "words": WORDS_WEIGHT}
    return {
        "velocity": velocity_loss(predicted.float(), target, batch.truth),
        **{name: weights[name] * loss for name, loss in watched.losses().items()},
    }


def guided(batch: Batch, guide: Guide | None, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Residuals:
    """What a guide adds to the UNet; nothing without one, or without a condition."""
    if guide is None or batch.condition is None:
        return {}
    return guide(noisy, timesteps, text, batch.condition)


def velocity_loss(predicted: Tensor, target: Tensor, truth: Truth) -> Tensor:
    """Squared error, weighted by how much of each cell the character covers."""
    rows, columns = target.shape[-2:]
    covered = truth.coverage[rows * columns].view(-1, 1, rows, columns)
    weights = 1 + (FIGURE_WEIGHT - 1) * covered
    return (weights * (predicted - target).square()).mean() / weights.mean()


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
