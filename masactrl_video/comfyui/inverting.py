"""A SAMPLER that goes from a picture to noise, so that a given picture can be recorded as a source."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from masactrl_video.errors import UserError

_NEARLY_NONE = 1e-4
"""Noise level in whose stead the model is never asked for 0."""


class PictureInversion:
    """ComfyUI's SAMPLER: Euler steps up the noise levels, so that the model is called once at each, on the picture.

    Every call is at the latents of its own noise level, so that Record Source needs no second pass. The picture comes
    out as it went in.
    """

    def sample(
        self,
        model: Callable[..., torch.Tensor],
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[int, torch.Tensor, torch.Tensor, int], None] | None,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """See ComfyUI; `model` gives the picture without noise.

        Raises:
            UserError: there is no picture, noise is added, a part alone is wanted, or the steps begin in the middle.
        """
        if latent_image is None or not latent_image.any():
            raise UserError("latent_image: it is empty; give the latents of a picture (VAE Encode)")
        if noise.any():
            raise UserError("add_noise: a picture is inverted as it is; switch it off")
        if denoise_mask is not None:
            raise UserError("latent_image: it has a mask, but a picture is inverted whole; leave the mask out")
        if float(sigmas[-1]) != 0:
            raise UserError(f"sigmas: they end at {float(sigmas[-1]):g}, a picture is at 0; give all steps")
        x, levels = latent_image, sigmas.flip(0)
        for number, (low, high) in enumerate(pairwise(levels)):
            at = low.clamp_min(_NEARLY_NONE)
            picture = model(x, at * x.new_ones(len(x)), **extra_args)
            x = x + (x - picture) / at * (high - low)
            if callback is not None:
                callback(number, picture, x, len(levels) - 1)
        model(x, levels[-1] * x.new_ones(len(x)), **extra_args)  # the source's first step
        return latent_image
