"""Latents as everything outside the backbones has them: a grid of channels, with a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, AutoencoderTiny


@dataclass(frozen=True)
class LatentSpace:
    """Latents of one loaded model: (frames, channels, height, width).

    A denoiser that reads them packed into tokens gets them so inside `Backbone.predict`.
    """

    channels: int
    downscale: int
    """Picture side divided by latent side."""
    multiple_px: int
    """Width and height of a picture must be multiples of this."""
    native_size_px: tuple[int, int]
    """Height and width of the pictures that the model was trained on."""

    def shape(self, size_px: tuple[int, int]) -> tuple[int, int, int]:
        """Channels, height and width of the latents of a picture of `size_px` (height, width)."""
        height_px, width_px = size_px
        return self.channels, height_px // self.downscale, width_px // self.downscale

    def encode(self, vae: AutoencoderKL, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(frames, 3, height, width), -1 to 1 → latents in the denoiser's scale and format: the posterior's mean."""
        mean: torch.Tensor = vae.encode(pixels).latent_dist.mean.to(dtype)
        scale, shift = _scale(vae)
        return (mean - shift if shift else mean) * scale

    def decode(self, vae: AutoencoderKL | AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
        """Latents in the denoiser's scale, any format → (frames, 3, height, width), about -1 to 1."""
        scale, shift = _scale(vae)
        own = latents.to(vae.dtype) / scale
        pixels: torch.Tensor = vae.decode(own + shift if shift else own, return_dict=False)[0]
        return pixels


def _scale(vae: AutoencoderKL | AutoencoderTiny) -> tuple[float, float]:
    """The factor and the shift that bring an autoencoder's latents to the denoiser's scale."""
    return float(vae.config.scaling_factor), float(vae.config.get("shift_factor") or 0)
