"""Families of transformers, each by what tests must know of it: a tiny real model, and how diffusers calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import tiny_flux
import tiny_models
import torch
from diffusers import (
    SD3ControlNetModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from masactrl_video.model.backbones.controls import ControlNetwork
from masactrl_video.model.backbones.sd3.controls import SD3ControlNetwork

Plain = Callable[[Any, str, str | None, float, tuple[int, int], int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Family:
    """One of them."""

    name: str
    make: Callable[[], Any]
    """A whole pipeline, always with the same weights."""
    plain: Plain
    """(pipe, prompt, negative prompt or None, scale, size, steps, noise) → latents by diffusers' own pipeline, with
    real guidance where there is a negative prompt."""
    picture: Callable[[int, int], slice]
    """See `replayed.Replay`."""
    control: Callable[[Any, int], ControlNetwork] | None
    """(pipe, seed) → a ControlNet that has an effect."""
    layers: int
    exact: bool = True
    """Whether the plain pipeline is met to the bit; its real guidance is where both branches are in one call."""
    save_control: Callable[[Any, Any], None] = lambda module, folder: module.save_pretrained(folder)
    """(module, folder): how a ControlNet lies on disk."""
    unguided_scale: float = 1.0
    """The highest without real guidance."""
    own_call: dict[str, Any] = field(default_factory=dict)
    """Arguments of a user's call without guidance."""


def lively(network: Any) -> Any:
    """With an effect of the attention that is not lost in rounding, as trained ones have."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ("to_q" in name or "to_k" in name) and parameter.ndim == 2:
                parameter.mul_(3)
    return network.eval()


def effective(network: Any, *parts: str) -> Any:
    """A ControlNet whose zero layers have weights."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(parts):
                parameter.normal_(std=0.3)
    return network.eval()


def sd3_transformer() -> SD3Transformer2DModel:
    """Three blocks, of which the second has the picture's own attention beside the joint one, as 3.5 medium's."""
    torch.manual_seed(0)
    return lively(
        SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pooled_projection_dim=2 * tiny_models.TEXT_WIDTH,
            pos_embed_max_size=12,
            dual_attention_layers=(1,),
            qk_norm="rms_norm",
        )
    )


def sd3_pipeline() -> StableDiffusion3Pipeline:
    """A whole tiny Stable Diffusion 3.5."""
    torch.manual_seed(2)
    tokenizer, text = CLIPTokenizer.from_pretrained(tiny_models.TOKENIZER), tiny_models._text_config()
    pipe = StableDiffusion3Pipeline(
        transformer=sd3_transformer(),
        scheduler=tiny_flux.scheduler(use_dynamic_shifting=False),
        vae=tiny_flux.vae(),
        text_encoder=CLIPTextModelWithProjection(text).eval(),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(text).eval(),
        tokenizer_2=tokenizer,
        text_encoder_3=tiny_flux.t5(),
        tokenizer_3=tiny_flux.t5_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sd3_control(pipe: Any, seed: int) -> ControlNetwork:
    """The first is of the kind without text and positions of its own (3.5 large's), the others of InstantX's kind."""
    torch.manual_seed(seed)
    config = dict(pipe.transformer.config) | {"num_layers": 2, "dual_attention_layers": ()}
    if seed == 5:
        config |= {"joint_attention_dim": None, "use_pos_embed": False, "force_zeros_for_pooled_projection": False}
    network = effective(SD3ControlNetModel.from_config(config), "controlnet_blocks", "pos_embed_input")
    return SD3ControlNetwork("pose", network, 0.7)


def sd3_plain(pipe: Any, prompt: str, negative: str | None, scale: float, size: Any, steps: int, noise: Any) -> Any:
    return pipe(
        prompt, height=size[0], width=size[1], num_inference_steps=steps, negative_prompt=negative, latents=noise,
        guidance_scale=1.0 if negative is None else scale, max_sequence_length=tiny_flux.TOKENS, output_type="latent",
    ).images  # fmt: skip


SD3 = Family(
    "sd3",
    sd3_pipeline,
    sd3_plain,
    lambda tokens, total: slice(tokens),
    sd3_control,
    layers=4,
    own_call={"guidance_scale": 1.0, "max_sequence_length": tiny_flux.TOKENS},
)

FAMILIES = [SD3]


@cache
def pipeline(family: str) -> Any:
    """One for all tests that change nothing of it."""
    return next(one for one in FAMILIES if one.name == family).make()
