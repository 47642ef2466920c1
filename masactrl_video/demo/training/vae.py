"""The autoencoder's training."""

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor

from masactrl_video.demo.training.data import Frames
from masactrl_video.demo.training.run import Losses

KL_WEIGHT = 1e-4
EDGE_WEIGHT = 0.5
FIGURE_WEIGHT = 3.0
"""Of the decoder's error on the character, against 1 on the ground."""


def vae_losses(vae: AutoencoderKL, pictures: Tensor) -> Losses:
    """Absolute error of colours and of their gradients, and the divergence from unit normal latents.

    Args:
        pictures: (batch, 3, height, width) in [-1, 1].
    """
    posterior = vae.encode(pictures).latent_dist
    decoded = vae.decode(posterior.sample()).sample
    kl = KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
    return {**_reconstruction(decoded, pictures, torch.ones_like(pictures[:, :1])), "kl": kl}


def decoder_losses(vae: AutoencoderKL, latents: Tensor, pictures: Tensor, masks: Tensor) -> Losses:
    """The errors of decoding alone, which count more on the character.

    Args:
        latents: (batch, channels, rows, columns); what they are made by stays as it is.
        pictures: what is wanted of them. (batch, 3, height, width) in [-1, 1]
        masks: 1 on the character. (batch, 1, height, width)
    """
    return _reconstruction(vae.decode(latents).sample, pictures, 1 + (FIGURE_WEIGHT - 1) * masks)


def preview_losses(tiny: AutoencoderTiny, latents: Tensor, pictures: Tensor, masks: Tensor) -> Losses:
    """The errors of a tiny autoencoder that stands in for the trained one: of its pictures, and of its latents.

    Args:
        latents: the trained one's. (batch, channels, rows, columns)
        pictures: (batch, 3, height, width) in [-1, 1].
        masks: 1 on the character. (batch, 1, height, width)
    """
    decoded = tiny.decode(latents).sample
    encoding = (tiny.encode(pictures).latents - latents).square().mean()
    return {**_reconstruction(decoded, pictures, 1 + (FIGURE_WEIGHT - 1) * masks), "latents": encoding}


def _reconstruction(decoded: Tensor, pictures: Tensor, weights: Tensor) -> Losses:
    """Means over all pixels, weighted. (batch, 1, height, width)"""
    difference = decoded - pictures
    colour = weights * (difference.abs() + difference.square())
    down, right = difference.diff(dim=-2).abs(), difference.diff(dim=-1).abs()
    edge = (weights[..., 1:, :] * down).mean() + (weights[..., 1:] * right).mean()
    return {"colour": colour.mean() / weights.mean(), "edge": EDGE_WEIGHT * edge / weights.mean()}


def picture_batch(frames: Frames, random: np.random.Generator, batch_size: int, crop_px: int, device: str) -> Tensor:
    """Random crops of random frames. (batch, 3, crop, crop) in [-1, 1]"""
    side = frames.images.shape[1]
    crops = []
    for index in random.integers(len(frames.images), size=batch_size):
        top, left = random.integers(0, side - crop_px + 1, 2)
        crops.append(frames.images[index, top : top + crop_px, left : left + crop_px])
    return to_tensor(np.stack(crops), device)


def to_tensor(pictures: NDArray[np.uint8], device: str) -> Tensor:
    """RGB uint8 (batch, height, width, 3) to (batch, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: NDArray[np.uint8], device: str, batch_size: int = 32) -> Tensor:
    """The latents' means of RGB pictures (frames, height, width, 3). (frames, channels, rows, columns) on the CPU"""
    starts = range(0, len(images), batch_size)
    batches = (to_tensor(np.array(images[at : at + batch_size]), device) for at in starts)
    return torch.cat([vae.encode(batch).latent_dist.mean.cpu() for batch in batches])


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> None:
    """Gives every latent channel mean 0 and deviation 1 on the given latents, by the 1x1 convolutions around them.

    Stable Diffusion has one scaling factor for all channels and no offset; with this it can stay at 1.
    """
    channels = latents.shape[1]
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    mean, deviation = mean.to(vae.device), deviation.to(vae.device)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()  # the second half of the outputs is the logarithm of the variance
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= deviation[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, frames: Frames, device: str, count: int = 64) -> float:
    """Decibels over the first frames, through the latents' means."""
    pictures = to_tensor(np.array(frames.images[:count]), device)
    decoded = vae.decode(vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
    return float(-10 * torch.log10(((decoded - pictures) / 2).square().mean()))
