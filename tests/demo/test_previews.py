"""The tiny autoencoder that ships: previews of what the demo's own decoder draws."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from masactrl_video.demo.clip import HERO, clip_frames
from masactrl_video.demo.folder import WEIGHTS


def test_a_preview_shows_what_the_decoder_draws_for_a_tenth_of_its_weights() -> None:
    vae = AutoencoderKL.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32)
    tiny = AutoencoderTiny.from_pretrained(WEIGHTS / "taesd", torch_dtype=torch.float32)
    frames = np.stack([frame.image for frame in clip_frames(HERO, "waving", 4, 128)])
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean
        exact, preview = vae.decode(latents).sample, tiny.decode(latents).sample
        again = vae.decode(tiny.encode(pictures).latents).sample
    assert _psnr_db(preview, exact) > 24
    assert _psnr_db(preview, exact.roll(16, dims=-1)) < 20, "any picture would do"
    assert _psnr_db(again, exact) > 20
    assert 10 * _weights(tiny.decoder) < _weights(vae.decoder)


def _psnr_db(made: torch.Tensor, true: torch.Tensor) -> float:
    return float(-10 * torch.log10((made.clamp(-1, 1) - true.clamp(-1, 1)).square().mean() / 4))


def _weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
