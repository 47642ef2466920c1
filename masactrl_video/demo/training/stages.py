"""The stages of the training, in order; each continues where it stopped and reads what the ones before it wrote."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from masactrl_video.demo.architecture import (
    build_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training.checkpoint import load_average
from masactrl_video.demo.training.data import draw_frames, open_frames
from masactrl_video.demo.training.denoiser import GUIDANCE_DROPPED, Latents, denoising_loss, guide_of
from masactrl_video.demo.training.plan import Plan
from masactrl_video.demo.training.run import Losses, Run
from masactrl_video.demo.training.vae import (
    encode_all,
    normalise_latents,
    picture_batch,
    reconstruction_psnr,
    vae_losses,
)
from masactrl_video.demo.world.vocabulary import known_words

logger = logging.getLogger(__name__)

_NORMALISED_ON = 1024
"""Frames whose latents' mean and deviation are measured."""


def draw(plan: Plan) -> None:
    """Draws the pictures unless they are there."""
    if not plan.frames_folder.exists():
        draw_frames(plan.frames_folder, plan.frames, plan.size, plan.world, plan.seed, plan.workers)


def train_vae(plan: Plan) -> None:
    """Trains the autoencoder, then writes it with normalised latents to ``vae.safetensors``."""
    frames = open_frames(plan.frames_folder)
    vae = build_vae(plan.network_size, plan.size)
    run = Run(plan.out / "vae", {"vae": vae}, plan.settings())
    crop_px = plan.size // 2

    def losses(random: np.random.Generator) -> Losses:
        return vae_losses(vae, picture_batch(frames, random, plan.batch_size, crop_px, plan.device))

    run.train(losses)
    load_average(run.checkpoint, "vae", vae)
    vae.eval()
    some = frames.__class__(
        frames.images[:_NORMALISED_ON],
        frames.masks[:_NORMALISED_ON],
        frames.keypoints[:_NORMALISED_ON],
        frames.captions[:_NORMALISED_ON],
    )
    normalise_latents(vae, encode_all(vae, some, plan.device))
    logger.info("reconstruction %.2f dB", reconstruction_psnr(vae, frames, plan.device))
    save_file({name: tensor.cpu() for name, tensor in vae.state_dict().items()}, plan.out / "vae.safetensors")


def train_unet(plan: Plan) -> None:
    """Trains UNet, text encoder and the pose ControlNet together from nothing."""
    data = _latents(plan)
    networks = _denoiser(plan)
    networks["controlnet-pose"] = build_controlnet(plan.network_size, networks["unet"])
    run = Run(plan.out / "unet", networks, plan.settings())
    scheduler = build_scheduler()
    guide = guide_of(networks["controlnet-pose"])
    unet = torch.compile(networks["unet"]) if plan.compile else networks["unet"]

    def losses(random: np.random.Generator) -> Losses:
        condition = None if random.uniform() < GUIDANCE_DROPPED else "pose"
        batch = data.batch(random, plan.batch_size, condition, plan.device)
        name = "guided" if condition else "alone"
        return {name: denoising_loss(unet, networks["text_encoder"], scheduler, batch, guide)}

    run.train(losses)


def train_guidance(plan: Plan) -> None:
    """Trains the canny ControlNet and both T2I-Adapters on the frozen UNet, each for the plan's minutes."""
    data = _latents(plan)
    frozen = _denoiser(plan)
    for name, network in frozen.items():
        load_average(plan.out / "unet" / "checkpoint", name, network)
        network.to(plan.device).requires_grad_(False).eval()
    factor = plan.size // data.latents.shape[-1]
    networks: dict[str, nn.Module] = {"controlnet-canny": build_controlnet(plan.network_size, frozen["unet"])}
    networks |= {f"t2i-adapter-{name}": build_t2i_adapter(plan.network_size, factor) for name in CONDITIONS}
    for name, network in networks.items():
        _train_one_guide(plan, data, frozen, name, network)


def _train_one_guide(plan: Plan, data: Latents, frozen: dict[str, nn.Module], name: str, network: nn.Module) -> None:
    run = Run(plan.out / name, {name: network}, plan.settings())
    scheduler, guide = build_scheduler(), guide_of(network)

    def losses(random: np.random.Generator) -> Losses:
        batch = data.batch(random, plan.batch_size, name.rsplit("-", 1)[1], plan.device)
        return {"guided": denoising_loss(frozen["unet"], frozen["text_encoder"], scheduler, batch, guide)}

    run.train(losses)


def load_vae(plan: Plan) -> AutoencoderKL:
    """The trained autoencoder."""
    vae = build_vae(plan.network_size, plan.size)
    vae.load_state_dict(load_file(plan.out / "vae.safetensors"))
    return vae.to(plan.device).eval().requires_grad_(False)


def _denoiser(plan: Plan) -> dict[str, nn.Module]:
    torch.manual_seed(plan.seed)
    size = plan.network_size
    factor = 2 ** (len(size.vae_channels) - 1)
    tokenizer = build_tokenizer(known_words(), size.max_tokens)
    return {"unet": build_unet(size, plan.size // factor), "text_encoder": build_text_encoder(size, tokenizer)}


def _latents(plan: Plan) -> Latents:
    """All frames encoded, from ``latents.safetensors`` when they were encoded before."""
    frames = open_frames(plan.frames_folder)
    path: Path = plan.out / "latents.safetensors"
    if not path.exists():
        save_file({"latents": encode_all(load_vae(plan), frames, plan.device).contiguous()}, path)
    tokenizer = build_tokenizer(known_words(), plan.network_size.max_tokens)
    tokens = tokenizer([*frames.captions, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    return Latents(frames, load_file(path)["latents"], tokens[:-1], tokens[-1])


STAGES: dict[str, Callable[[Plan], None]] = {
    "draw": draw,
    "vae": train_vae,
    "unet": train_unet,
    "guidance": train_guidance,
}
