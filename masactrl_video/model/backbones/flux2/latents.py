"""Latents of FLUX.2's autoencoder: cells of 2x2 latents have a mean and a deviation for each of their channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLFlux2

from masactrl_video.model.backbones.joint.packing import PATCH
from masactrl_video.model.backbones.latents import LatentSpace


@dataclass(frozen=True)
class Flux2Latents(LatentSpace):
    """The statistics are those of the autoencoder's batch norm."""

    def encode(self, vae: AutoencoderKLFlux2, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """See `LatentSpace`."""
        cells = F.pixel_unshuffle(vae.encode(pixels).latent_dist.mean.to(dtype), PATCH)
        mean, deviation = _scale(vae, cells)
        return F.pixel_shuffle((cells - mean) / deviation, PATCH)

    def decode(self, vae: AutoencoderKLFlux2, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentSpace`."""
        cells = F.pixel_unshuffle(latents.to(vae.dtype), PATCH)
        mean, deviation = _scale(vae, cells)
        pixels: torch.Tensor = vae.decode(F.pixel_shuffle(cells * deviation + mean, PATCH), return_dict=False)[0]
        return pixels


def _scale(vae: AutoencoderKLFlux2, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation, (channels x 4, 1, 1)."""
    mean, deviation = vae.bn.running_mean, torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
    return mean.to(like)[:, None, None], deviation.to(like)[:, None, None]
