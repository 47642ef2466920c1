"""Latents of an autoencoder for videos, of which a picture is one frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLQwenImage, AutoencoderKLWan

from masactrl_video.model.backbones.latents import LatentSpace


@dataclass(frozen=True)
class VideoLatents(LatentSpace):
    """Each channel has a mean and a deviation of its own."""

    def encode(
        self, vae: AutoencoderKLQwenImage | AutoencoderKLWan, pixels: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        """See `LatentSpace`."""
        found: torch.Tensor = vae.encode(pixels.unsqueeze(2)).latent_dist.mean[:, :, 0].to(dtype)
        mean, inverse = _scale(vae, found)
        return (found - mean) * inverse

    def decode(self, vae: AutoencoderKLQwenImage | AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
        """See `LatentSpace`."""
        own = latents.to(vae.dtype)
        mean, inverse = _scale(vae, own)
        pixels: torch.Tensor = vae.decode((own / inverse + mean).unsqueeze(2), return_dict=False)[0][:, :, 0]
        return pixels


def _scale(vae: AutoencoderKLQwenImage | AutoencoderKLWan, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and the inverse of the deviation, (channels, 1, 1)."""
    mean, deviation = (
        like.new_tensor(values)[:, None, None] for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, 1.0 / deviation
