"""Reused deep features: the same as the whole network with its last block given older features, for less."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
import torch

from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.denoise import Denoising, FrameBatch
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler

SIZE, STEPS = (64, 128), 4


def load(layout: str, guidance: str) -> DiffusionModel:
    pipe = getattr(tiny_models, f"{layout}_pipeline")()
    made = {"controlnet": tiny_models.controlnet, "adapter": tiny_models.adapter}
    kinds = [kind for kind in made if kind in guidance]
    return DiffusionModel(pipe, tuple(GuidanceNetwork(kind, made[kind](pipe.unet), 0.8) for kind in kinds))


def denoise(model: DiffusionModel, whole_every: int, unguided_steps: int = 0) -> torch.Tensor:
    text = encode_prompt(model, "a bear", "blue", 7.5, SIZE)
    denoising = Denoising(model, text, 4.0, 0, unguided_steps, whole_every)
    pictures = np.random.default_rng(0).integers(0, 255, (2, *SIZE, 3), dtype=np.uint8)
    guidance = prepare_guidance(model.networks, [pictures for _ in model.networks])
    noise = torch.cat([initial_noise(model, SIZE, seed) for seed in (1, 2)])
    batch = FrameBatch.from_noise(noise, guidance, make_scheduler(model, "ddim", STEPS))
    for step in range(STEPS):
        denoising.step(batch, step)
    return batch.latents


@pytest.mark.parametrize("unguided_steps", [1, pytest.param(0, marks=pytest.mark.long)])
@pytest.mark.parametrize("guidance", ["", "controlnet", "adapter", "controlnet adapter"])
@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_it_is_the_whole_network_with_older_deep_features(layout: str, guidance: str, unguided_steps: int) -> None:
    model = load(layout, guidance)
    parts = [model.unet, *(network.module for network in model.networks)]
    before = [list(part.named_modules()) for part in parts]
    reused = denoise(model, 2, unguided_steps)
    assert [list(part.named_modules()) for part in parts] == before, "a network is not as it was"

    kept: list[torch.Tensor] = []

    def older(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        kept.append(output)
        step = len(kept) - 1
        return output if step % 2 == 0 else kept[step - 1][-len(output) :]

    hook = model.unet.up_blocks[-2].register_forward_hook(older)
    expected = denoise(model, 1, unguided_steps)
    hook.remove()
    assert (reused - expected).abs().max() < 1e-5
    assert (reused - denoise(model, 1, unguided_steps)).abs().max() > 1e-3, "this would be exact"


def test_the_deep_blocks_do_not_run() -> None:
    model = load("sd1", "controlnet")
    called: list[str] = []
    deep = {
        "unet": (model.unet.down_blocks[1], model.unet.mid_block, model.unet.up_blocks[0]),
        "controlnet": (model.networks[0].module.down_blocks[1], model.networks[0].module.mid_block),
    }
    for name, blocks in deep.items():
        for block in blocks:
            block.register_forward_hook(lambda *_, name=name: called.append(name))
    denoise(model, 3)  # steps 0 and 3 are whole
    assert called == (["controlnet"] * 2 + ["unet"] * 3) * 2
