"""Between pictures and latents, and the noise that denoising starts from."""

from __future__ import annotations

import logging

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray

from masactrl_video.errors import UserError
from masactrl_video.model.backbones.latents import LatentSpace
from masactrl_video.model.diffusion import DiffusionModel

logger = logging.getLogger(__name__)


def initial_noise(model: DiffusionModel, size_px: tuple[int, int], seed: int) -> torch.Tensor:
    """Standard normal noise for one picture of `size_px` (height, width): (1, channels, height, width).

    Drawn on the CPU in float32, so that a seed means the same picture on every device.
    """
    shape, generator = (1, *model.latents.shape(size_px)), torch.Generator("cpu").manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(model.device, model.dtype)


@torch.no_grad()
def encode_picture(model: DiffusionModel, picture: NDArray[np.uint8]) -> torch.Tensor:
    """RGB uint8 (height, width, 3) → scaled latents (1, channels, height, width), the mean of the VAE's posterior."""
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(model.device, model.vae.dtype) / 127.5 - 1
    return model.latents.encode(model.vae, pixels, model.dtype)


@torch.no_grad()
def decode_latents(model: DiffusionModel, latents: torch.Tensor) -> NDArray[np.uint8]:
    """Scaled latents (frames, channels, height, width) → RGB uint8 (frames, height, width, 3).

    One frame at a time: memory stays small, and a frame's pixels do not depend on its neighbours in the batch. What
    overflows in half precision, as SDXL's VAE does, is decoded again in float32.

    Raises:
        UserError: it does in float32 too.
    """
    pictures = []
    for frame in latents:
        pixels = _decode(model.latents, model.decoder, frame[None])[0]
        levels = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        pictures.append(levels.permute(1, 2, 0).cpu().numpy())
    return np.stack(pictures)


def _decode(space: LatentSpace, vae: AutoencoderKL | AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """Scaled latents (1, channels, height, width) → (1, 3, height, width), about -1 to 1."""
    decoded = space.decode(vae, latents)
    if decoded.isfinite().all():
        return decoded
    before = vae.dtype
    if before == torch.float32 or not latents.isfinite().all():
        raise UserError("the VAE's pixels are not finite numbers in float32 either: are its weights damaged?")
    logger.warning("the VAE ran over in %s: the picture is decoded again in float32", before)
    try:
        return _decode(space, vae.to(torch.float32), latents)
    finally:
        vae.to(before)
