"""What bounds a denoising step: its operations and bytes, counted without computing, and this machine's rates."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from clip import timed
from diffusers import ControlNetModel, UNet2DConditionModel
from shapes import FAMILIES
from torch.utils.flop_counter import FlopCounterMode

from masactrl_video.attention.branches import GUIDED
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.prompt_once import reading_prompts_once
from masactrl_video.attention.recorded import MemorySource, StepRecord
from masactrl_video.attention.use import control_attention
from masactrl_video.model.denoise import predict_noise
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.guidance_network import GuidanceNetwork, PreparedGuidance
from masactrl_video.model.text import TextCondition

META = torch.device("meta")
TIMESTEP = 500.0


def count_family(name: str, width_px: int, height_px: int) -> dict[str, float]:
    """Operations and bytes of SD-1.5 or SDXL at a size."""
    family = FAMILIES[name]
    with init_empty_weights():
        unet = UNet2DConditionModel(**family.unet, up_block_types=family.up_block_types)
        controlnet = ControlNetModel(**{key: value for key, value in family.unet.items() if key != "sample_size"})
    return count(unet, controlnet, (height_px // 8, width_px // 8), 8, family.masa_layer)


def count(
    unet: UNet2DConditionModel, controlnet: ControlNetModel, latent_size: tuple[int, int], factor: int, masa_layer: int
) -> dict[str, float]:
    """One controlled denoising step of one frame, with classifier-free guidance, by diffusers and by us.

    Two operations are one multiplication and one addition. Bytes are those that must be read at least once in a step:
    the weights, and the cache.
    """
    unet, controlnet = unet.to(META), controlnet.to(META)
    plan = plan_control(unet, 1, masa_step=0, masa_layer=masa_layer)
    source = _source(plan, latent_size)
    height, width = latent_size
    pictures = torch.empty(1, 3, height * factor, width * factor, device=META)
    network = GuidanceNetwork("pose", controlnet)
    guidance = PreparedGuidance(((network, pictures),), (), (network.embed(pictures),))
    model = cast(DiffusionModel, SimpleNamespace(unet=unet))
    latents, text = torch.empty(1, unet.config.in_channels, *latent_size, device=META), _text(unet)
    timestep = cast(torch.Tensor, TIMESTEP)
    plain = _operations(lambda: _plain_call(unet, controlnet, latents, pictures, text))
    with ExitStack() as stack:
        for part in (unet, controlnet):
            stack.enter_context(reading_prompts_once(part, (text,)))
        stack.enter_context(control_attention(unet, source, plan))
        predict_noise(model, latents, timestep, text, guidance, 0, 1)  # the prompt is read
        ours = _operations(lambda: predict_noise(model, latents, timestep, text, guidance, 0, 1))
    whole = sum(4 * branch.numel() for branch in (*source.records[0].keys.values(), *source.records[0].values.values()))
    attention = sum(
        2 * 2 * 2 * (grid[0] * grid[1]) ** 2 * layer.key_channels
        for layer, grid in ((layer, layer.grid(latent_size)) for layer in plan.layers)
    )
    return {
        "plain_operations": plain,
        "our_operations": ours,
        "controlled_attention_operations": attention,
        "weight_bytes": sum(4 * p.numel() for part in (unet, controlnet) for p in part.parameters()),
        "cache_step_bytes": whole,
    }


def _plain_call(
    unet: UNet2DConditionModel,
    controlnet: ControlNetModel,
    latents: torch.Tensor,
    pictures: torch.Tensor,
    text: TextCondition,
) -> None:
    """As diffusers' pipelines do it: every row is a picture of its own, at every step."""
    rows, arguments = latents.repeat(2, 1, 1, 1), text.for_frames(1)
    pictures = pictures.repeat(2, 1, 1, 1)
    down, mid = controlnet(rows, TIMESTEP, controlnet_cond=pictures, return_dict=False, **arguments)
    residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    unet(rows, TIMESTEP, return_dict=False, **arguments, **residuals)


def _operations(work: Any) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _source(plan: ControlPlan, latent_size: tuple[int, int]) -> MemorySource:
    def states(layer: Any) -> torch.Tensor:
        height, width = layer.grid(latent_size)
        return torch.empty(2, height * width, layer.key_channels, device=META)

    keys, values = ({layer.name: states(layer) for layer in plan.layers} for _ in range(2))
    source = MemorySource(GUIDED, tuple(keys))
    source.add(TIMESTEP, StepRecord(keys, values))
    return source


def _text(unet: UNet2DConditionModel) -> TextCondition:
    hidden = torch.empty(2, 77, unet.config.cross_attention_dim, device=META)
    if unet.config.addition_embed_type != "text_time":
        return TextCondition(hidden)
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    return TextCondition(hidden, torch.empty(2, pooled, device=META), torch.empty(2, 6, device=META))


def machine_rates(side: int = 2048, rounds: int = 5) -> dict[str, float]:
    """What the machine does at best, a second of CPU time: operations in a matrix product, bytes in a copy."""
    a, b, out = (torch.rand(side, side) for _ in range(3))
    line, copy = torch.rand(1 << 26), torch.empty(1 << 26)
    products = [timed(lambda: torch.mm(a, b, out=out)).cpu_seconds for _ in range(rounds + 1)][1:]
    copies = [timed(lambda: copy.copy_(line)).cpu_seconds for _ in range(rounds + 1)][1:]
    return {
        "operations_a_second": 2 * side**3 / statistics.median(products),
        "bytes_a_second": 2 * line.nbytes / statistics.median(copies),
    }
