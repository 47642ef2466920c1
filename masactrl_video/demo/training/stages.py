"""The stages of the training, in order; each continues where it stopped and reads what the ones before it wrote."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from masactrl_video.demo.architecture import (
    PATCH,
    build_controlnet,
    build_flux_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_tiny_vae,
    build_transformer,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.training import processes
from masactrl_video.demo.training.checkpoint import load_average, plain
from masactrl_video.demo.training.data import Frames, draw_frames, open_frames
from masactrl_video.demo.training.denoiser import GUIDED_BY, SEEN, Batch, Latents, denoising_losses, guide_of
from masactrl_video.demo.training.keypoints import keypoint_losses
from masactrl_video.demo.training.made import made_latents
from masactrl_video.demo.training.plan import Plan
from masactrl_video.demo.training.run import Losses, Run, one_of
from masactrl_video.demo.training.transformer import GUIDED, begin, draw_shared, flow_losses, places
from masactrl_video.demo.training.vae import (
    decoder_losses,
    encode_all,
    normalise_latents,
    picture_batch,
    preview_losses,
    reconstruction_psnr,
    to_tensor,
    vae_losses,
)
from masactrl_video.demo.world.vocabulary import OBJECT_WORDS, known_words
from masactrl_video.poses.detectors.network import KeypointNetwork

logger = logging.getLogger(__name__)

_NORMALISED_ON = 1024
"""Frames whose latents' mean and deviation are measured."""
_ENCODED_AT_ONCE = 512
"""Pose pictures that are drawn before they are encoded."""


def draw(plan: Plan) -> None:
    """Draws the pictures unless they are there."""
    with processes.first_alone() as first:
        if first and not plan.frames_folder.exists():
            draw_frames(plan.frames_folder, plan.frames, plan.size, plan.world, plan.seed, plan.workers)


def train_vae(plan: Plan) -> None:
    """Trains the autoencoder, then writes it with normalised latents to ``vae.safetensors``."""
    frames = open_frames(plan.frames_folder)
    vae = build_vae(plan.network_size, plan.size)
    run = Run(plan.out / "vae", {"vae": vae}, plan.settings())
    crop_px = plan.size // 2

    def losses(_: np.random.Generator, own: np.random.Generator) -> Losses:
        return vae_losses(vae, picture_batch(frames, own, run.own_batch, crop_px, plan.device))

    run.train(losses)
    if processes.rank() > 0:
        return
    load_average(run.checkpoint, "vae", vae)
    vae.eval()
    normalise_latents(vae, encode_all(vae, frames.images[:_NORMALISED_ON], plan.device))
    _write_vae(vae, frames, plan)


def train_keypoints(plan: Plan) -> None:
    """Trains the network that finds the 18 keypoints."""
    frames = open_frames(plan.frames_folder)
    network = KeypointNetwork(sample_size=plan.size)
    run = Run(plan.out / "keypoints", {"keypoints": network}, plan.settings())
    run.train(lambda _, own: keypoint_losses(network, frames, own, run.own_batch, plan.device))


def train_unet(plan: Plan) -> None:
    """Trains UNet and text encoder from nothing, with every network that guides them."""
    data = _latents(plan)
    networks = _denoiser(plan)
    guides = _guides(plan, networks["unet"])
    run = Run(plan.out / "unet", {**networks, **guides}, plan.settings())
    scheduler = build_scheduler()
    unet = torch.compile(networks["unet"]) if plan.compile else networks["unet"]

    def losses(random: np.random.Generator, own: np.random.Generator) -> Losses:
        name, sight = one_of(GUIDED_BY, random), one_of(SEEN, random)
        batch = data.batch(own, run.own_batch, _condition_of(name), sight is not None, plan.device)
        guide = guide_of(guides[name]) if name else None
        parts = denoising_losses(unet, networks["text_encoder"], scheduler, batch, guide, sight)
        kind = f"{name or 'alone'}, {sight or 'single'}"
        return {f"{kind}: {part}": loss for part, loss in parts.items()}

    run.train(losses)


def train_decoder(plan: Plan) -> None:
    """Trains the autoencoder's decoder on, alone, and writes it into ``vae.safetensors``; the latents stay.

    It learns from what the trained denoiser makes of the latents: what ships is seen through both.
    """
    data = _latents(plan)
    vae = load_vae(plan)
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True)
    networks, guides = _trained(plan)
    for network in guides.values():
        _freeze(network, plan)
    scheduler = build_scheduler()
    run = Run(plan.out / "decoder", {"decoder": decoder}, plan.settings())

    def losses(random: np.random.Generator, own: np.random.Generator) -> Losses:
        name = one_of(GUIDED_BY, random)
        batch = data.batch(own, run.own_batch, _condition_of(name), True, plan.device)
        guide = guide_of(guides[name]) if name else None
        latents = made_latents(networks["unet"], networks["text_encoder"], scheduler, batch, guide)
        return decoder_losses(vae, latents, *_pictures_and_masks(data, batch, plan))

    run.train(losses)
    if processes.rank() > 0:
        return
    load_average(run.checkpoint, "decoder", decoder)
    vae.eval()
    _write_vae(vae, data.frames, plan)


def train_previews(plan: Plan) -> None:
    """Trains the tiny autoencoder that decodes previews."""
    data, tiny = _latents(plan), build_tiny_vae(plan.network_size)
    run = Run(plan.out / "taesd", {"taesd": tiny}, plan.settings())

    def losses(_: np.random.Generator, own: np.random.Generator) -> Losses:
        batch = data.batch(own, run.own_batch, None, False, plan.device)
        return preview_losses(tiny, batch.latents, *_pictures_and_masks(data, batch, plan))

    run.train(losses)


def _pictures_and_masks(data: Latents, batch: Batch, plan: Plan) -> tuple[Tensor, Tensor]:
    """What a batch's latents are to be decoded to, and where its characters are."""
    pictures, masks = (of_all[batch.chosen] for of_all in (data.frames.images, data.frames.masks))
    return to_tensor(pictures, plan.device), torch.from_numpy(masks).to(plan.device)[:, None].float()


def _condition_of(guide: str | None) -> str | None:
    """``pose`` or ``canny``, by the name of the network that guides."""
    return guide.rsplit("-", 1)[1] if guide else None


def train_guidance(plan: Plan) -> None:
    """Trains each guidance network on, alone and for the plan's minutes, on the frozen UNet."""
    data = _latents(plan)
    frozen, guides = _trained(plan)
    for name, network in guides.items():
        _train_one_guide(plan, data, frozen, name, network)


def _train_one_guide(plan: Plan, data: Latents, frozen: dict[str, nn.Module], name: str, network: nn.Module) -> None:
    run = Run(plan.out / name, {name: network}, plan.settings())
    scheduler, guide = build_scheduler(), guide_of(network)

    def losses(_: np.random.Generator, own: np.random.Generator) -> Losses:
        batch = data.batch(own, run.own_batch, _condition_of(name), False, plan.device)
        parts = denoising_losses(frozen["unet"], frozen["text_encoder"], scheduler, batch, guide)
        return {f"{name}: {part}": loss for part, loss in parts.items()}

    run.train(losses)


def train_transformer(plan: Plan) -> None:
    """Trains the transformer and its ControlNet for poses, on the latents and the text encoder of the other stages."""
    data, poses = _latents(plan), _pose_latents(plan)
    text_encoder = _denoiser(plan)["text_encoder"]
    load_average(plan.out / "unet" / "checkpoint", "text_encoder", text_encoder)
    _freeze(text_encoder, plan)
    torch.manual_seed(plan.seed)
    transformer, controlnet = build_transformer(plan.network_size), build_flux_controlnet(plan.network_size)
    for network in (transformer, controlnet):
        begin(network)
    run = Run(plan.out / "dit", {"transformer": transformer, "controlnet": controlnet}, plan.settings())
    side = data.latents.shape[-1] // PATCH

    def losses(random: np.random.Generator, own: np.random.Generator) -> Losses:
        guide = controlnet if random.uniform() < GUIDED else None
        shared = draw_shared(random, transformer)
        batch = data.batch(own, run.own_batch, None, shared is not None, plan.device)
        seen_at = places(shared.positions, batch, data.frames, side).to(plan.device) if shared else None
        pictures = poses[batch.chosen].to(plan.device)
        parts = flow_losses(transformer, guide, text_encoder, batch, pictures, shared, seen_at)
        sight, seen = (shared.sight, f"{shared.sight} {shared.positions}") if shared else ("single", "single")
        kinds = {"velocity": f"{'pose' if guide else 'alone'}, {sight}", "matching": seen, "words": "all"}
        return {f"{kinds[part]}: {part}": loss for part, loss in parts.items()}

    run.train(losses)


def _pose_latents(plan: Plan) -> Tensor:
    """The pose pictures of all frames encoded, from ``poses.safetensors`` when they were encoded before."""
    frames = open_frames(plan.frames_folder)
    path: Path = plan.out / "poses.safetensors"
    with processes.first_alone() as first:
        if first and not path.exists():
            vae, parts = load_vae(plan), range(0, len(frames.images), _ENCODED_AT_ONCE)
            drawn = (range(at, min(at + _ENCODED_AT_ONCE, len(frames.images))) for at in parts)
            encoded = [
                encode_all(vae, np.stack([frames.pose_picture(index) for index in part]), plan.device) for part in drawn
            ]
            save_file({"poses": torch.cat(encoded).contiguous()}, path)
    poses: Tensor = load_file(path)["poses"]
    return poses


def _trained(plan: Plan) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """What the UNet's stage made: UNet and text encoder, frozen; and what guides them."""
    denoiser = _denoiser(plan)
    guides = _guides(plan, denoiser["unet"])
    for name, network in {**denoiser, **guides}.items():
        load_average(plan.out / "unet" / "checkpoint", name, network)
    for network in denoiser.values():
        _freeze(network, plan)
    return denoiser, guides


def _freeze(network: nn.Module, plan: Plan) -> None:
    network.to(plan.device).to(memory_format=torch.channels_last).requires_grad_(False).eval()


def _write_vae(vae: AutoencoderKL, frames: Frames, plan: Plan) -> None:
    logger.info("reconstruction %.2f dB", reconstruction_psnr(vae, frames, plan.device))
    save_file(plain(vae.state_dict()), plan.out / "vae.safetensors")


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


def _guides(plan: Plan, unet: nn.Module) -> dict[str, nn.Module]:
    """ControlNets and T2I-Adapters, untrained, by the name of their folder."""
    size = plan.network_size
    factor = 2 ** (len(size.vae_channels) - 1)
    controlnets = {f"controlnet-{condition}": build_controlnet(size, unet) for condition in CONDITIONS}
    return controlnets | {f"t2i-adapter-{condition}": build_t2i_adapter(size, factor) for condition in CONDITIONS}


def _latents(plan: Plan) -> Latents:
    """All frames encoded, from ``latents.safetensors`` when they were encoded before."""
    frames = open_frames(plan.frames_folder)
    path: Path = plan.out / "latents.safetensors"
    with processes.first_alone() as first:
        if first and not path.exists():
            vae = load_vae(plan)
            pictures = {"latents": frames.images, "others": frames.others}
            encoded = {name: encode_all(vae, images, plan.device) for name, images in pictures.items()}
            save_file({name: latents.contiguous() for name, latents in encoded.items()}, path)
    tokenizer = build_tokenizer(known_words(), plan.network_size.max_tokens)
    tokens = tokenizer([*frames.captions, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids
    object_ids = torch.tensor(tokenizer.convert_tokens_to_ids([f"{word}</w>" for word in OBJECT_WORDS]))
    latents = load_file(path)
    return Latents(frames, latents["latents"], latents["others"], tokens[:-1], tokens[-1], object_ids)


STAGES: dict[str, Callable[[Plan], None]] = {
    "draw": draw,
    "vae": train_vae,
    "keypoints": train_keypoints,
    "unet": train_unet,
    "decoder": train_decoder,
    "taesd": train_previews,
    "guidance": train_guidance,
    "dit": train_transformer,
}
