"""Latents as the denoiser makes them, from which the decoder learns to draw what was meant."""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from masactrl_video.demo.training.denoiser import Batch, Guide, guided
from masactrl_video.demo.training.pairs import told_where_to_look

EXACT = 0.25
"""Part of the pictures whose latents are the autoencoder's own."""
MOST_NOISE = 0.7
"""Of the scheduler's training steps. From there on the denoiser errs as much in one step as in a whole run."""
PARTS = (1.0, 0.5)
"""Of the noise's timestep: those of the steps from there to no noise."""


@torch.no_grad()
def made_latents(
    unet: UNet2DConditionModel, text_encoder: CLIPTextModel, scheduler: DDIMScheduler, batch: Batch, guide: Guide | None
) -> Tensor:
    """The pictures of a batch of pairs, noised and denoised again; some stay exact.

    The second picture of each pair sees the first one, as a target sees its source.

    Returns:
        (batch, channels, rows, columns)
    """
    text = text_encoder(batch.tokens)[0]
    last = MOST_NOISE * scheduler.config.num_train_timesteps
    first = last * torch.rand(len(batch.latents) // 2, device=batch.latents.device).repeat(2)
    noise = torch.randn_like(batch.latents)
    clean = batch.latents
    for part in PARTS:
        timesteps = (part * first).long()
        noisy = scheduler.add_noise(clean, noise, timesteps)
        residuals = guided(batch, guide, noisy, timesteps, text)
        with told_where_to_look(unet, "first", batch.truth):
            velocity = unet(noisy, timesteps, text, **residuals).sample
        kept = scheduler.alphas_cumprod.to(noisy.device)[timesteps].view(-1, 1, 1, 1)
        clean = kept.sqrt() * noisy - (1 - kept).sqrt() * velocity
        noise = kept.sqrt() * velocity + (1 - kept).sqrt() * noisy
    exact = torch.rand(len(clean), device=clean.device).view(-1, 1, 1, 1) < EXACT
    return torch.where(exact, batch.latents, clean)
