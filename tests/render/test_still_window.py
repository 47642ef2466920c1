"""Before a still ground a UNet may denoise the figures' part alone: each frame in a window of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from tiny_families import FAMILIES, pipeline

from masactrl_video.attention.masks import MaskRule
from masactrl_video.attention.parts import SourcePart
from masactrl_video.attention.plan import plan_control
from masactrl_video.cache.recorded_source import CachedSource
from masactrl_video.errors import UserError
from masactrl_video.model.backbones.branches import GUIDED
from masactrl_video.model.backbones.unet.controls import GuidanceNetwork, prepare_guidance
from masactrl_video.model.diffusion import DiffusionModel
from masactrl_video.model.prompts import encode_prompt
from masactrl_video.model.sampling.colours import HeldColours
from masactrl_video.model.sampling.denoise import Denoising
from masactrl_video.model.sampling.latents import initial_noise
from masactrl_video.model.sampling.schedulers import make_scheduler
from masactrl_video.render.frames import Beside, FramesJob, denoise_chunk
from masactrl_video.render.grounds import StillGround
from masactrl_video.render.job import frames_job
from masactrl_video.settings.names import SchedulerName
from masactrl_video.settings.settings import Settings
from masactrl_video.sources.control import planned_control
from masactrl_video.sources.record import ColourRule, cached_source
from masactrl_video.sources.source import GeneratedSource
from masactrl_video.sources.timeline import Timeline

STEPS, SIZE_PX = 3, (128, 192)
PLACES = ((40, 16), (40, 24), (8, 100))
"""Top and left of each frame's figure in pixels; the source's is that of the first."""


def masks() -> np.ndarray:
    found = np.zeros((len(PLACES), *SIZE_PX, 3), np.uint8)
    for frame, (top, left) in enumerate(PLACES):
        found[frame, top : top + 32, left : left + 24] = 255
    return found


def make_job(
    root: Path, networks: str = "", scheduler: SchedulerName = "ddim", margin: int | None = 0, seed: int = 5
) -> FramesJob:
    pipe = tiny_models.sd1_pipeline()
    kinds = {"controlnet": tiny_models.controlnet, "adapter": tiny_models.adapter}
    guides = [GuidanceNetwork(kind, kinds[kind](pipe.unet), 0.8) for kind in networks.split()]
    model = DiffusionModel(pipe, tuple(guides))
    schedule = make_scheduler(model, scheduler, STEPS)
    plan = plan_control(model.unet, STEPS, masa_step=1, mode="masked")
    given = torch.from_numpy(masks()[..., 0] > 0)
    guide = [np.random.default_rng(0).integers(0, 255, (3, *SIZE_PX, 3), dtype=np.uint8) for _ in guides]
    text = encode_prompt(model, "a bear", "", 4.0, SIZE_PX)
    prepared = prepare_guidance(model.networks, [pictures[:1] for pictures in guide])
    noise = initial_noise(model, SIZE_PX, seed)
    source = GeneratedSource(Denoising(model, text, 4.0, seed=5), schedule, noise, prepared)
    colours = ColourRule(mask=given[0])
    cached = cached_source(root, model, source, GUIDED, plan, colours=colours, levels=True)
    assert cached.levels is not None
    assert cached.colours is not None
    return FramesJob(
        Denoising(model, encode_prompt(model, "a panda", "", 4.0, SIZE_PX), 4.0, seed=5),
        schedule,
        cached,
        cached.initial_noise,
        plan,
        [list(pictures) for pictures in guide],
        MaskRule(source_mask=given[0]),
        Beside(target_masks=list(masks())),
        colours=HeldColours(cached.colours[None], 1.0, STEPS - 1),
        background="still",
        still_ground=StillGround(cached.levels[None], margin),
    )


def denoise(job: FramesJob, batches: list[list[int]]) -> tuple[torch.Tensor, list[tuple[int, ...]], list[list[int]]]:
    """Latents, what the UNet was called on (rows, height, width), and the frames that each call was told of."""
    seen: list[tuple[int, ...]] = []
    told: list[list[int]] = []
    unet = job.denoising.model.denoiser
    handle = unet.register_forward_pre_hook(lambda module, args: seen.append((len(args[0]), *args[0].shape[-2:])))
    try:
        with job.controlled() as control:
            latents = denoise_chunk(job, control, batches, lambda step, frames: told.append(list(frames)))
            assert control.figures.windows == ()
    finally:
        handle.remove()
    return torch.cat(latents), seen, told


@pytest.mark.parametrize(("networks", "scheduler"), [("controlnet adapter", "ddim"), ("", "dpm++")])
def test_each_frame_has_its_own_window_and_comes_out_as_it_would_alone(
    tmp_path: Path, networks: str, scheduler: SchedulerName
) -> None:
    job = make_job(tmp_path, networks, scheduler)
    together, seen, told = denoise(job, [[0, 1, 2]])
    assert seen[:2] == [(6, 16, 24)] * 2  # the first step is not controlled, and at the second no mask is known yet
    assert sorted(seen[2:4]) == [(2, 12, 20), (4, 8, 8)]
    assert told[2:4] == [[0, 1], [2]]
    alone, *_ = denoise(job, [[0], [1], [2]])
    assert (together - alone).abs().max() < 1e-4
    whole, *_ = denoise(replace(job, still_ground=replace(job.still_ground, margin=None)), [[0, 1, 2]])
    inside = whole != job.still_ground.levels[0, -1]
    assert torch.equal(together == job.still_ground.levels[0, -1], ~inside)
    assert (together - whole)[inside].abs().mean() > 0


def test_a_margin_that_takes_in_all_is_the_whole_to_the_bit(tmp_path: Path) -> None:
    job = make_job(tmp_path, margin=99)
    wide, seen, _ = denoise(job, [[0, 1, 2]])
    assert set(seen) == {(6, 16, 24)}
    whole, *_ = denoise(replace(job, still_ground=replace(job.still_ground, margin=None)), [[0, 1, 2]])
    assert torch.equal(wide, whole)


@pytest.mark.parametrize("margin", [None, 0])
def test_each_frame_of_a_batch_stands_before_the_ground_of_its_own_source(tmp_path: Path, margin: int | None) -> None:
    both = [make_job(tmp_path, margin=margin, seed=seed) for seed in (5, 6)]
    given = torch.from_numpy(masks()[0, ..., 0] > 0)
    levels = torch.cat([job.still_ground.levels for job in both if job.still_ground is not None])
    job = replace(
        both[0],
        parts=[SourcePart(job.source, mask=given) for job in both],
        timeline=Timeline((0, 2)),
        still_ground=StillGround(levels, margin),
        colours=None,
    )
    together, *_ = denoise(job, [[1, 2]])
    alone, *_ = denoise(job, [[1], [2]])
    assert (together - alone).abs().max() < 1e-4
    assert torch.equal(together[:, :, -1, 0], levels[:, -1, :, -1, 0])


STILL: dict[str, Any] = {
    "clip": "clip.mp4",
    "model": "tiny",
    "prompt": "a bear",
    "attention_mode": "masked",
    "mask_words": ["bear"],
    "background": "still",
    "num_inference_steps": STEPS,
    "guidance": [],
}


def test_a_source_of_another_size_is_refused(tmp_path: Path) -> None:
    """Its latents have no place for those of the frames; what else they share with it fits any size."""
    job = make_job(tmp_path)
    assert isinstance(job.source, CachedSource)
    own = (Settings.model_validate(STILL), job.denoising.model)
    with pytest.raises(UserError, match="the source has 24x16 latent points, the frames 16x16; take a source of"):
        frames_job(*own, (128, 128), [], job.scheduler, job.plan, job.source)
    made = frames_job(*own, SIZE_PX, [], job.scheduler, job.plan, job.source)
    assert made.still_ground is not None


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in FAMILIES])
def test_transformers_have_no_windows(family: Any) -> None:
    model = DiffusionModel(pipeline(family.name))
    changes = {"scheduler": family.scheduler, "masa_step": 1, "masa_layer": family.layers - 1, "mask_grid_divisor": 2}
    settings = Settings.model_validate(STILL | changes | {"still_margin": 2})
    with pytest.raises(UserError, match=r"still_margin: .+ denoises no part of a picture alone; leave it out"):
        planned_control(settings, model, (64, 64))
    _, plan = planned_control(settings.model_copy(update={"still_margin": "all"}), model, (64, 64))
    assert plan.layers
