"""What bounds a denoising step: its operations and bytes, counted without computing, and this machine's rates."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from clip import timed
from diffusers import ControlNetModel, UNet2DConditionModel
from shapes import FAMILIES
from torch.utils.flop_counter import FlopCounterMode
from without_values import EmptyStep, empty_networks


def count_family(name: str, width_px: int, height_px: int) -> dict[str, float]:
    """Operations and bytes of SD-1.5 or SDXL at a size."""
    unet, controlnet, _ = empty_networks(name)
    return count(unet, controlnet, (height_px // 8, width_px // 8), 8, FAMILIES[name].masa_layer)


def count(
    unet: UNet2DConditionModel, controlnet: ControlNetModel, latent_size: tuple[int, int], factor: int, masa_layer: int
) -> dict[str, float]:
    """One controlled denoising step of one frame, with classifier-free guidance, by diffusers and by us.

    Two operations are one multiplication and one addition. Bytes are those that must be read at least once in a step:
    the weights, and the cache.
    """
    step = EmptyStep.of(unet, controlnet, latent_size, factor, masa_layer)
    with step.ours() as work:
        ours = _operations(work)
    attention = sum(
        2 * 2 * 2 * (grid[0] * grid[1]) ** 2 * layer.key_channels
        for layer, grid in ((layer, layer.grid(latent_size)) for layer in step.plan.layers)
    )
    return {
        "plain_operations": _operations(step.plain),
        "our_operations": ours,
        "controlled_attention_operations": attention,
        "weight_bytes": sum(p.nbytes for part in (step.unet, step.controlnet) for p in part.parameters()),
        "cache_step_bytes": step.cache_bytes,
    }


def _operations(work: Any) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


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
