"""Between pictures and latents, and the noise at the beginning."""

from __future__ import annotations

import numpy as np
import tiny_models
import torch
from diffusers.image_processor import VaeImageProcessor

from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.sampling.latents import decode_latents, encode_picture, initial_noise

SIZE = (40, 64)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def test_pictures_and_latents_are_those_of_diffusers() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    processor, factor = VaeImageProcessor(vae_scale_factor=8), model.vae.config.scaling_factor
    with torch.no_grad():
        pixels = processor.preprocess(picture().astype(np.float32)[None] / 255)
        expected = model.vae.encode(pixels).latent_dist.mode() * factor
        latents = encode_picture(model, picture())
        assert (latents - expected).abs().max() < 1e-5
        decoded = processor.postprocess(model.vae.decode(latents / factor).sample, output_type="np")[0]
    ours = decode_latents(model, latents)
    assert (ours.shape, ours.dtype) == ((1, *SIZE, 3), np.uint8)
    assert np.abs(ours[0] - decoded * 255).max() <= 0.51


def test_a_frame_is_decoded_the_same_whatever_is_beside_it() -> None:
    model = DiffusionModel(tiny_models.sd1_pipeline())
    latents = torch.randn(3, 4, 5, 8)
    together = decode_latents(model, latents)
    alone = [decode_latents(model, frame[None])[0] for frame in latents]
    assert (together == np.stack(alone)).all()


def test_a_vae_in_float32_serves_a_unet_in_bfloat16() -> None:
    pipe = tiny_models.sd1_pipeline()
    pipe.unet.to(torch.bfloat16)
    model = DiffusionModel(pipe)
    latents = encode_picture(model, picture())
    assert latents.dtype == torch.bfloat16
    assert decode_latents(model, latents).shape == (1, *SIZE, 3)


def test_a_seed_means_the_same_noise_in_every_dtype() -> None:
    model, half = DiffusionModel(tiny_models.sd1_pipeline()), DiffusionModel(tiny_models.sd1_pipeline())
    half.pipe.unet.to(torch.bfloat16)
    noise = initial_noise(model, SIZE, 3)
    assert noise.shape == (1, 4, 5, 8)
    assert torch.equal(noise.to(torch.bfloat16), initial_noise(half, SIZE, 3))
    assert not torch.equal(noise, initial_noise(model, SIZE, 4))
