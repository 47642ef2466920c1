"""The cached render equals source and targets run side by side in one batch, after the paper's equations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import side_by_side
import tiny_models
import torch

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.plan import ControlPlan, plan_control
from masactrl_video.attention.recorded import SHARED
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.backbones.unet.layers import self_attention_layers
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt, find_words
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.invert import invert
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import FramesJob, denoise_chunk
from masactrl_video.sources.record import ObjectWords, cached_source
from masactrl_video.sources.source import GeneratedSource, RealSource, unique_branches

STEPS, SCALE = 4, 4.0
SOURCE_PROMPT, PROMPT, NEGATIVE = "a bear in the meadow", "a panda in the snow", "blue"


@dataclass
class Case:
    layout: str = "sd1"
    size: tuple[int, int] = (64, 64)
    mode: str = "source"
    guidance: tuple[str, ...] = ()
    real: bool = False
    masa_step: int = 1
    masa_layer: int | None = None
    negative: str = NEGATIVE
    threshold: float = 0.1


def load(case: Case) -> DiffusionModel:
    pipe = getattr(tiny_models, f"{case.layout}_pipeline")()
    networks = []
    for index, kind in enumerate(case.guidance):
        adapter = kind == "adapter"
        module = tiny_models.adapter(pipe.unet) if adapter else tiny_models.controlnet(pipe.unet, seed=3 + index)
        scale = 0.7 + 0.2 * index
        networks.append(GuidanceNetwork(f"{kind}{index}", module, scale, start=0.0, end=0.8 if index else 1.0))
    return DiffusionModel(pipe, tuple(networks))


def pictures(frames: int, size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, *size, 3), dtype=np.uint8)


def make_plan(model: DiffusionModel, case: Case) -> ControlPlan:
    default = 16 if case.layout == "sdxl" else 10
    return plan_control(
        model.unet,
        STEPS,
        masa_step=case.masa_step,
        masa_layer=default if case.masa_layer is None else case.masa_layer,
        mode=case.mode,
        mask_grid_divisor=4 if case.mode == "masked" else None,
    )


def render(case: Case, model: DiffusionModel, root: Path) -> tuple[torch.Tensor, CachedSource, dict[str, Any]]:
    """Two frames in two batches of one, against the cache."""
    scheduler = make_scheduler(model, "ddim", STEPS)
    plan = make_plan(model, case)
    text = encode_prompt(model, PROMPT, case.negative, 7.5, case.size)
    guide = [pictures(3, case.size, seed) for seed, _ in enumerate(case.guidance)]
    tokenizer = model.pipe.tokenizer
    words = ObjectWords(())
    if case.real:
        latents = 0.5 * initial_noise(model, case.size, 77)
        prompts, branches = unique_branches(encode_prompt(model, "", case.negative, 7.5, case.size), GUIDED, SHARED)
        source: Any = RealSource(model, scheduler, latents, prompts)
        if case.mode == "masked":
            caption = encode_prompt(model, SOURCE_PROMPT, "", 1.0, case.size)
            words = ObjectWords(find_words(tokenizer, SOURCE_PROMPT, ["bear"]), caption)
    else:
        prompts, branches = encode_prompt(model, SOURCE_PROMPT, case.negative, 7.5, case.size), GUIDED
        guidance = prepare_guidance(model.networks, [g[:1] for g in guide])
        denoising = Denoising(model, prompts, SCALE, seed=5)
        source = GeneratedSource(denoising, scheduler, initial_noise(model, case.size, 5), guidance)
        if case.mode == "masked":
            words = ObjectWords(find_words(tokenizer, SOURCE_PROMPT, ["bear"]))
    cached = cached_source(root, model, source, branches, plan, words)
    masks = MaskRule(find_words(tokenizer, PROMPT, ["panda"]), case.threshold) if case.mode == "masked" else None
    job = FramesJob(
        Denoising(model, text, SCALE, seed=5),
        scheduler,
        cached,
        cached.initial_noise,
        plan,
        [list(g) for g in guide],
        masks,
    )
    with job.controlled() as control:
        out = denoise_chunk(job, control, [[1], [2]])
    return torch.cat(out), cached, control.check_fired(calls_per_step=2)


def reference(case: Case, model: DiffusionModel) -> torch.Tensor:
    """Source and both frames in one batch; [source, frame 1, frame 2]."""
    scheduler = make_scheduler(model, "ddim", STEPS)
    plan = make_plan(model, case)
    own = encode_prompt(model, "" if case.real else SOURCE_PROMPT, case.negative, 7.5, case.size)
    target = encode_prompt(model, PROMPT, case.negative, 7.5, case.size)

    def rows(source: torch.Tensor | None, targets: torch.Tensor | None) -> torch.Tensor | None:
        return (
            None
            if source is None
            else torch.cat([torch.stack([s, t, t]) for s, t in zip(source, targets, strict=True)])
        )

    hidden = rows(own.hidden_states, target.hidden_states)
    added = {"text_embeds": rows(own.pooled, target.pooled), "time_ids": rows(own.time_ids, target.time_ids)}
    extra = {"added_cond_kwargs": added} if own.pooled is not None else {}
    guide = [pictures(3, case.size, seed) for seed, _ in enumerate(case.guidance)]

    def call(x: torch.Tensor, t: torch.Tensor, step: int) -> torch.Tensor:
        down, mid, inner = None, None, None
        unguided_rows = [0, 3] if case.real else []  # a real source takes part without guidance
        for network, frames in zip(model.networks, guide, strict=True):
            if step / STEPS < network.start or (step + 1) / STEPS > network.end:
                continue
            cond = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
            if network.is_adapter:
                features = [f.repeat(2, 1, 1, 1) * network.scale for f in network.module(cond)]
                for f in features:
                    f[unguided_rows] = 0
                inner = features if inner is None else [a + b for a, b in zip(inner, features, strict=True)]
                continue
            d, m = network.module(
                x, t, hidden, controlnet_cond=cond.repeat(2, 1, 1, 1), conditioning_scale=network.scale,
                return_dict=False, **extra,
            )  # fmt: skip
            for f in (*d, m):
                f[unguided_rows] = 0
            down = d if down is None else [a + b for a, b in zip(down, d, strict=True)]
            mid = m if mid is None else mid + m
        residuals: dict[str, Any] = {}
        if down is not None:
            residuals.update(down_block_additional_residuals=tuple(down), mid_block_additional_residual=mid)
        if inner is not None:
            residuals["down_intrablock_additional_residuals"] = inner
        return model.unet(x, t, hidden, return_dict=False, **extra, **residuals)[0]

    latent_size = model.latent_size(*case.size)
    layers = self_attention_layers(model.unet)
    tokenizer = model.pipe.tokenizer
    state = side_by_side.SideBySide(
        layers={layer.name for layer in plan.layers},
        mode=case.mode,
        frames=2,
        branches=2,
        grids={layer.block: layer.grid(latent_size) for layer in layers},
        source_tokens=find_words(tokenizer, SOURCE_PROMPT, ["bear"]),
        target_tokens=find_words(tokenizer, PROMPT, ["panda"]),
        map_blocks=[layer.block for layer in plan.mask_layers],
        threshold=case.threshold,
    )
    if not case.real:
        noise = initial_noise(model, case.size, 5).repeat(3, 1, 1, 1)
        return side_by_side.run(model.unet, scheduler, state, plan.steps, noise, call, SCALE)
    null = encode_prompt(model, "", "", 1.0, case.size)
    trajectory = invert(model, 0.5 * initial_noise(model, case.size, 77), null, scheduler).latents
    if case.mode == "masked":
        state.source_maps = caption_maps(case, model, state, scheduler, trajectory)
    noise = trajectory[0].repeat(3, 1, 1, 1)
    return side_by_side.run(model.unet, scheduler, state, plan.steps, noise, call, SCALE, trajectory)


def caption_maps(case: Case, model: DiffusionModel, state: Any, scheduler: Any, trajectory: Any) -> dict[int, Any]:
    """Step → the caption's attention to its words, by map layer."""
    caption = encode_prompt(model, SOURCE_PROMPT, "", 1.0, case.size)
    maps = {}
    for step, t in enumerate(scheduler.timesteps):
        alone = replace(state, frames=0, branches=1, maps=[])
        before = dict(model.unet.attn_processors)
        model.unet.set_attn_processor(
            {
                key: side_by_side.CrossAttention(key.rsplit(".", 2)[0], alone) if ".attn2." in key else processor
                for key, processor in before.items()
            }
        )
        with torch.no_grad():
            model.unet(trajectory[step], t, **caption.for_frames(1))
        model.unet.set_attn_processor(before)
        maps[step] = [m[0, ..., list(state.source_tokens)].sum(-1) for m in alone.maps]
    return maps


WIDE = (72, 128)
CASES = {
    "sd1": Case(),
    "sd1 union": Case(mode="union"),
    "sd1 masked": Case(mode="masked"),
    "sd1 16:9": Case(size=WIDE),
    "sd1 16:9 union controlnet": Case(size=WIDE, mode="union", guidance=("controlnet",)),
    "sd1 16:9 masked": Case(size=WIDE, mode="masked", guidance=("controlnet",)),
    "sd1 controlnet": Case(guidance=("controlnet",)),
    "sd1 adapter": Case(guidance=("adapter",)),
    "sd1 two controlnets and an adapter": Case(guidance=("controlnet", "controlnet", "adapter")),
    "sd1 masked adapter from layer 8": Case(mode="masked", guidance=("adapter",), masa_layer=8),
    "sd1 real": Case(real=True),
    "sd1 real union": Case(real=True, mode="union"),
    "sd1 real masked": Case(real=True, mode="masked"),
    "sd1 real shared branches": Case(real=True, negative=""),
    "sd1 real shared branches union": Case(real=True, negative="", mode="union"),
    "sd1 real shared branches masked": Case(real=True, negative="", mode="masked", guidance=("controlnet",)),
    "sd1 real controlnet and adapter 16:9": Case(real=True, guidance=("controlnet", "adapter"), size=WIDE),
    "sd2 controlnet": Case(layout="sd2", guidance=("controlnet",)),
    "sd2 real masked 16:9": Case(layout="sd2", mode="masked", size=WIDE, real=True),
    "sdxl": Case(layout="sdxl"),
    "sdxl union controlnet": Case(layout="sdxl", mode="union", guidance=("controlnet",)),
    "sdxl masked": Case(layout="sdxl", mode="masked"),
    "sdxl masked before the last map layer": Case(layout="sdxl", mode="masked", masa_layer=6),
    "sdxl masked 16:9 adapter": Case(layout="sdxl", mode="masked", size=(64, 112), guidance=("adapter",)),
    "sdxl real masked 16:9": Case(layout="sdxl", mode="masked", size=WIDE, real=True),
    "sdxl real controlnet": Case(layout="sdxl", real=True, guidance=("controlnet",)),
    "from the first step and layer": Case(masa_step=0, masa_layer=0),
} | {
    f"sd1 masked from layer {layer}{name}": Case(mode="masked", masa_layer=layer, threshold=0.28, **changes)
    for layer in (5, 7, 8, 9)
    for name, changes in {
        "": {},
        " 16:9 controlnet": {"size": WIDE, "guidance": ("controlnet",)},
        " real": {"real": True},
    }.items()
}


SHORT = (
    *("sd1", "sd1 16:9 union controlnet", "sd1 masked", "sd1 two controlnets and an adapter", "sd1 real masked"),
    *("sd1 real shared branches", "sd2 controlnet", "sdxl", "sdxl masked 16:9 adapter", "sdxl real controlnet"),
    *("from the first step and layer", "sd1 masked from layer 8 16:9 controlnet"),
)
ALL = [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in CASES]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in CASES]
)
def test_cached_render_equals_side_by_side(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = load(case)
    ours, cached, figures = render(case, model, tmp_path)
    expected = reference(case, model)
    assert (ours - expected[1:]).abs().max() < 1e-4
    assert (cached.latents - expected[:1]).abs().max() < 1e-4
    assert figures["controlled_attention_calls"] == figures["expected_attention_calls"] > 0
    plain = render(replace(case, masa_step=STEPS), model, tmp_path)[0]
    assert (ours - plain).abs().max() > 1e-3, "the source has no influence: this case proves nothing"
