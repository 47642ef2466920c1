"""A stand-in for the demo model's trained weights: the same folder with narrow networks and seeded random weights."""

from pathlib import Path

import torch
from diffusers import ControlNetModel
from diffusers.models.modeling_utils import ModelMixin

from masactrl_video.demo.architecture import (
    STAND_IN,
    build_controlnet,
    build_scheduler,
    build_t2i_adapter,
    build_text_encoder,
    build_tiny_vae,
    build_unet,
    build_vae,
)
from masactrl_video.demo.folder import CONDITIONS, write_weights
from masactrl_video.demo.tokenizer import build_tokenizer
from masactrl_video.demo.world.vocabulary import known_words
from masactrl_video.poses.detectors.network import KeypointNetwork


def write_stand_in(folder: Path, seed: int = 0, sample_px: int = 128) -> None:
    """Writes the stand-in to ``folder``, replacing what is there.

    Args:
        sample_px: side of the pictures that the model makes unless another size is asked for.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(known_words(), STAND_IN.max_tokens)
    vae = build_vae(STAND_IN, sample_px)
    factor = 2 ** (len(STAND_IN.vae_channels) - 1)
    unet = build_unet(STAND_IN, sample_px // factor)
    guidance: dict[str, ModelMixin] = {}
    for condition in CONDITIONS:
        guidance[f"controlnet-{condition}"] = _wake(build_controlnet(STAND_IN, unet))
        guidance[f"t2i-adapter-{condition}"] = build_t2i_adapter(STAND_IN, factor)
    keypoints = KeypointNetwork(sample_size=sample_px, channels=8)
    write_weights(
        folder,
        vae=vae,
        text_encoder=build_text_encoder(STAND_IN, tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        card="# Random weights\n",
        training={},
        beside=guidance | {"keypoints": keypoints, "taesd": build_tiny_vae(STAND_IN)},
    )


def _wake(controlnet: ControlNetModel) -> ControlNetModel:
    """Gives the convolutions that start at zero small random weights: an untrained ControlNet would add nothing."""
    outputs = (
        *controlnet.controlnet_down_blocks,
        controlnet.controlnet_mid_block,
        controlnet.controlnet_cond_embedding.conv_out,
    )
    for convolution in outputs:
        torch.nn.init.normal_(convolution.weight, std=0.02)
    return controlnet
