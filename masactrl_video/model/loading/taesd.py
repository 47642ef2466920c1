"""TAESD: a tiny decoder in the autoencoder's place, for previews (github.com/madebyollin/taesd)."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from masactrl_video.errors import UserError
from masactrl_video.model.loading.hub import fetch_network
from masactrl_video.model.loading.loading import loading
from masactrl_video.model.loading.location import local_path
from masactrl_video.model.loading.weights import load_part

_KIND = "taesd"


def load_taesd(name: str, vae: AutoencoderKL, dtype: torch.dtype, device: torch.device) -> AutoencoderTiny:
    """Load a tiny autoencoder that decodes the latents of `vae`.

    Args:
        name: hub id or local folder, e.g. `madebyollin/taesd` (SD-1.x and 2.x) or `madebyollin/taesdxl`.

    Raises:
        UserError: not to be found, something else, or for other latents. That its latents are another model's of the
            same shape (SD-1.5, SDXL) cannot be seen in its files: its colours are wrong then.
    """
    path = local_path(name, _KIND)
    if path is not None and path.is_file():
        raise UserError(f"{_KIND} {name!r}: give its folder, or a hub id")
    with loading(_KIND, name):
        folder = path or fetch_network(name, _KIND, None, None)
        tiny: AutoencoderTiny = load_part(AutoencoderTiny, _KIND, name, folder, dtype)
        _check_latents(name, tiny, vae)
        return tiny.to(device).eval()


def _check_latents(name: str, tiny: AutoencoderTiny, vae: AutoencoderKL) -> None:
    if "block_out_channels" not in vae.config or "batch_norm_eps" in vae.config:  # of videos, FLUX.2's
        raise UserError(f"{_KIND} {name!r}: no tiny decoder fits a {type(vae).__name__}; leave it out")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    own = tiny.config.upsampling_scaling_factor ** (len(tiny.config.decoder_block_out_channels) - 1)
    if (tiny.config.latent_channels, own) != (vae.config.latent_channels, factor):
        raise UserError(
            f"{_KIND} {name!r}: it decodes latents of {tiny.config.latent_channels} channels to {own} times their "
            f"size, but the model's have {vae.config.latent_channels} channels and are to become {factor} times as "
            "large; take the one for this model"
        )
